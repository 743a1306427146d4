// Standard Webhooks: the headers webhook-id, webhook-timestamp, webhook-signature.
// .NET 8 or newer, nothing else.

using System;
using System.Linq;
using System.Security.Cryptography;
using System.Text;

public static class Standard
{
    // Returns the bytes behind a secret: base64 after whsec_.
    public static byte[] Key(string secret)
    {
        var raw = Convert.FromBase64String(secret.StartsWith("whsec_", StringComparison.Ordinal) ? secret[6..] : secret);
        return raw.Length >= 24 ? raw : throw new FormatException("too short");
    }

    // Returns 200, or the status to refuse the request with. The body is the raw bytes of the
    // request: read them from Request.Body before anything parses it.
    public static int Verify(string? id, string? timestamp, string? signatures, byte[] body, byte[][] keys, DateTimeOffset now)
    {
        if (string.IsNullOrEmpty(id) || string.IsNullOrEmpty(signatures) || timestamp is null
            || timestamp.Length is < 1 or > 12 || !timestamp.All(char.IsAsciiDigit))
            return 400;
        if (Math.Abs(now.ToUnixTimeSeconds() - long.Parse(timestamp)) > 300)
            return 401;
        byte[] signed = [.. Encoding.UTF8.GetBytes($"{id}.{timestamp}."), .. body];
        foreach (var key in keys)
        {
            var want = Encoding.ASCII.GetBytes("v1," + Convert.ToBase64String(HMACSHA256.HashData(key, signed)));
            // During a rotation there are several signatures, separated by spaces.
            if (signatures.Split(' ').Any(text => CryptographicOperations.FixedTimeEquals(want, Encoding.UTF8.GetBytes(text))))
                return 200;
        }
        return 401;
    }
}

// Then remember the webhook-id: it is the same in every attempt at one event.

// PaySway, in both spellings: one header, X-PaySway-Signature: t=SECONDS,v1=HEX
// .NET 8 or newer, nothing else.

using System;
using System.Linq;
using System.Security.Cryptography;
using System.Text;

public static class PaySway
{
    // Returns the bytes behind a secret: it is base64, and has to be decoded.
    public static byte[] Key(string secret)
    {
        var raw = Convert.FromBase64String(secret);
        return raw.Length >= 24 ? raw : throw new FormatException("too short");
    }

    // Returns 200, or the status to refuse the request with. The header is X-PaySway-Signature.
    // The body is the raw bytes of the request: read them from Request.Body before anything parses it.
    public static int Verify(string? header, byte[] body, byte[][] keys, DateTimeOffset now)
    {
        var pairs = (header ?? "").Split(',').Select(pair => pair.Split('=', 2)).Where(pair => pair.Length == 2).ToList();
        var timestamp = pairs.FirstOrDefault(pair => pair[0] == "t")?[1] ?? "";
        var signatures = pairs.Where(pair => pair[0] == "v1").Select(pair => pair[1]).ToList(); // several during a rotation
        if (signatures.Count == 0 || timestamp.Length is < 1 or > 12 || !timestamp.All(char.IsAsciiDigit))
            return 400;
        if (Math.Abs(now.ToUnixTimeSeconds() - long.Parse(timestamp)) > 300)
            return 401;
        byte[] signed = [.. Encoding.ASCII.GetBytes(timestamp + "."), .. body];
        foreach (var key in keys)
        {
            var want = Encoding.ASCII.GetBytes(Convert.ToHexString(HMACSHA256.HashData(key, signed)).ToLowerInvariant());
            if (signatures.Any(text => CryptographicOperations.FixedTimeEquals(want, Encoding.UTF8.GetBytes(text))))
                return 200;
        }
        return 401;
    }
}

// Then remember the id in the body: it is that of the event, the same in every attempt.

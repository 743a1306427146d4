// paywise: one header, X-Paywise-Signature: sha256=HEX, over the body alone.
// .NET 8 or newer, nothing else.

using System;
using System.Linq;
using System.Security.Cryptography;
using System.Text;

public static class Paywise
{
    // Returns the bytes behind a secret: those of its text. It is not decoded.
    public static byte[] Key(string secret) =>
        secret.Length >= 24 ? Encoding.UTF8.GetBytes(secret) : throw new FormatException("too short");

    // Returns 200, or the status to refuse the request with. The header is X-Paywise-Signature.
    // The body is the raw bytes of the request: read them from Request.Body before anything parses it.
    public static int Verify(string? header, byte[] body, byte[][] keys)
    {
        if (header is null || !header.StartsWith("sha256=", StringComparison.Ordinal))
            return 400;
        var got = Encoding.UTF8.GetBytes(header);
        return keys.Any(key => CryptographicOperations.FixedTimeEquals(
            Encoding.ASCII.GetBytes("sha256=" + Convert.ToHexString(HMACSHA256.HashData(key, body)).ToLowerInvariant()), got)) ? 200 : 401;
    }
}

// The delivery id is not signed, and neither is a time: whoever recorded a request could send it
// again under another id. Remember X-Paywise-Delivery-ID and the digest of the body.

# PaySway, in both spellings: one header, X-PaySway-Signature: t=SECONDS,v1=HEX

require "openssl"

module PaySway
  module_function

  # Returns the bytes behind a secret: it is base64, and has to be decoded.
  def key(secret)
    raw = secret.unpack1("m0")
    raise ArgumentError, "too short" if raw.bytesize < 24

    raw
  end

  # Returns 200, or the status to refuse the request with. header is the value of
  # X-PaySway-Signature; the body is the raw bytes of the request, such as request.body.read.
  def verify(header, body, keys, now = Time.now.to_i)
    pairs = header.to_s.split(",").map { |pair| pair.split("=", 2) }
    timestamp = pairs.assoc("t").to_a[1].to_s
    signatures = pairs.select { |name, _| name == "v1" }.map { |_, value| value.to_s } # several during a rotation
    return 400 if signatures.empty? || !timestamp.match?(/\A[0-9]{1,12}\z/)
    return 401 if (now - timestamp.to_i).abs > 300

    signed = "#{timestamp}.".b + body.b
    genuine = keys.any? do |k|
      want = OpenSSL::HMAC.hexdigest("SHA256", k, signed)
      signatures.any? { |text| OpenSSL.secure_compare(want, text) }
    end
    genuine ? 200 : 401
  end
end

# In your controller, before anything reads the body as JSON:
#
#   keys = ENV.fetch("SECRET").split.map { |secret| PaySway.key(secret) }
#   status = PaySway.verify(request.headers["X-PaySway-Signature"], request.raw_post, keys)
#   return head(status) unless status == 200
#
# Then remember the id in the body: it is that of the event, the same in every attempt.

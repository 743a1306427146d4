# Standard Webhooks: the headers webhook-id, webhook-timestamp, webhook-signature.

require "openssl"

module Standard
  module_function

  # Returns the bytes behind a secret: base64 after whsec_.
  def key(secret)
    raw = secret.delete_prefix("whsec_").unpack1("m0")
    raise ArgumentError, "too short" if raw.bytesize < 24

    raw
  end

  # Returns 200, or the status to refuse the request with. The names of headers are in lower
  # case; the body is the raw bytes of the request, such as request.body.read.
  def verify(headers, body, keys, now = Time.now.to_i)
    id, timestamp, signatures = headers.values_at("webhook-id", "webhook-timestamp", "webhook-signature").map(&:to_s)
    return 400 if id.empty? || signatures.empty? || !timestamp.match?(/\A[0-9]{1,12}\z/)
    return 401 if (now - timestamp.to_i).abs > 300

    signed = "#{id}.#{timestamp}.".b + body.b
    # During a rotation there are several signatures, separated by spaces.
    genuine = keys.any? do |k|
      want = "v1," + [OpenSSL::HMAC.digest("SHA256", k, signed)].pack("m0")
      signatures.split(" ").any? { |text| OpenSSL.secure_compare(want, text) }
    end
    genuine ? 200 : 401
  end
end

# In your controller, before anything reads the body as JSON:
#
#   keys = ENV.fetch("SECRET").split.map { |secret| Standard.key(secret) }
#   names = %w[webhook-id webhook-timestamp webhook-signature]
#   status = Standard.verify(names.to_h { |name| [name, request.headers[name]] }, request.raw_post, keys)
#   return head(status) unless status == 200
#
# Then remember the webhook-id: it is the same in every attempt at one event.

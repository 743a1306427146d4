# paywise: one header, X-Paywise-Signature: sha256=HEX, over the body alone.

require "openssl"

module Paywise
  module_function

  # Returns the bytes behind a secret: those of its text. It is not decoded.
  def key(secret)
    raise ArgumentError, "too short" if secret.bytesize < 24

    secret
  end

  # Returns 200, or the status to refuse the request with. header is the value of
  # X-Paywise-Signature; the body is the raw bytes of the request, such as request.body.read.
  def verify(header, body, keys)
    return 400 unless header.to_s.start_with?("sha256=")

    genuine = keys.any? do |k|
      OpenSSL.secure_compare("sha256=" + OpenSSL::HMAC.hexdigest("SHA256", k, body.b), header)
    end
    genuine ? 200 : 401
  end
end

# In your controller, before anything reads the body as JSON:
#
#   keys = ENV.fetch("SECRET").split.map { |secret| Paywise.key(secret) }
#   status = Paywise.verify(request.headers["X-Paywise-Signature"], request.raw_post, keys)
#   return head(status) unless status == 200
#
# The delivery id is not signed, and neither is a time: whoever recorded a request could send it
# again under another id. Remember X-Paywise-Delivery-ID and the digest of the body.

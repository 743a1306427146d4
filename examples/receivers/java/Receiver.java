// An example webhook receiver. It verifies every request over its raw bytes, handles each
// event once and responds immediately. It needs only Java 17 or newer:
//
//   PROFILE=standard SECRET=whsec_... PORT=3000 java Receiver.java
//
// PROFILE names the wire format. SECRET contains the endpoint's secret, or two of them
// separated by a space during a rotation. PORT is the port on 127.0.0.1. Run it behind your
// TLS proxy.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Executors;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Receiver {
    static final int BODY_LIMIT = 1 << 20;
    static final String PROFILE = env("PROFILE", "standard");
    static final List<byte[]> KEYS = new ArrayList<>();
    static final Set<String> SEEN = new HashSet<>();

    public static void main(String[] args) throws IOException {
        if (!Set.of("standard", "paysway", "paysway-2025-09", "paywise").contains(PROFILE)) {
            stop("PROFILE is " + PROFILE + "; it must be standard, paysway, paysway-2025-09 or paywise.");
        }
        for (String secret : env("SECRET", "").trim().split(" +")) {
            byte[] key = key(secret);
            if (key.length < 24) {
                stop("SECRET is not a secret of " + PROFILE + "; copy it whole, as it was shown with the endpoint.");
            }
            KEYS.add(key);
        }
        int port = Integer.parseInt(env("PORT", "3000"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 128);
        server.createContext("/", Receiver::handle);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.start();
        System.err.println("listening on 127.0.0.1:" + port);
    }

    static void handle(HttpExchange exchange) throws IOException {
        int status = 500; // not 200, so the sender will retry
        try {
            status = answer(exchange);
        } catch (Exception e) {
            e.printStackTrace();
        }
        exchange.sendResponseHeaders(status, -1);
        exchange.close();
    }

    static int answer(HttpExchange exchange) throws IOException, GeneralSecurityException {
        if (!exchange.getRequestMethod().equals("POST")) {
            return 405;
        }
        byte[] body = exchange.getRequestBody().readNBytes(BODY_LIMIT + 1); // the raw bytes, which were signed
        if (body.length > BODY_LIMIT) {
            return 413;
        }
        int status = verify(exchange, body);
        if (status != 200) {
            return status;
        }
        // Use your JSON library here. This example reads only members that the sender itself wrote
        // before the data.
        String text = new String(body, StandardCharsets.UTF_8);
        String type = member(text, PROFILE.equals("standard") ? "type" : PROFILE.equals("paywise") ? "event" : "eventType");
        List<String> ids = switch (PROFILE) {
            case "standard" -> List.of(header(exchange, "webhook-id"));
            // paywise signs neither the delivery id nor a time, so anyone who recorded a request
            // could send it again under another id. The digest of the body therefore counts, too.
            case "paywise" -> List.of(header(exchange, "X-Paywise-Delivery-ID"),
                "body:" + HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(body)));
            default -> List.of(member(text, "id"));
        };
        if (type.isEmpty() || ids.get(0).isEmpty()) {
            return 400; // genuine, but not an event
        }
        once(type, ids);
        return 200;
    }

    // once represents a transaction of your database: look up the ids in a unique column, act,
    // insert the ids, commit. Unlike this set, a table survives a restart.
    static synchronized void once(String type, List<String> ids) {
        if (ids.stream().anyMatch(SEEN::contains)) {
            System.out.println("duplicate " + type + " " + ids.get(0));
            return;
        }
        System.out.println("handled " + type + " " + ids.get(0));
        SEEN.addAll(ids);
    }

    // verify returns 200, or the status of the refusal.
    static int verify(HttpExchange exchange, byte[] body) throws GeneralSecurityException {
        String before = "", timestamp = "", prefix = "";
        List<String> signatures = new ArrayList<>(); // several during a rotation
        switch (PROFILE) {
            case "standard" -> {
                timestamp = header(exchange, "webhook-timestamp");
                before = header(exchange, "webhook-id") + "." + timestamp + ".";
                prefix = "v1,";
                signatures.addAll(List.of(header(exchange, "webhook-signature").split(" ")));
                if (header(exchange, "webhook-id").isEmpty()) {
                    return 400;
                }
            }
            case "paywise" -> {
                prefix = "sha256=";
                signatures.add(header(exchange, "X-Paywise-Signature"));
                if (header(exchange, "X-Paywise-Delivery-ID").isEmpty()) {
                    return 400;
                }
            }
            default -> {
                for (String pair : header(exchange, "X-PaySway-Signature").split(",")) {
                    if (pair.startsWith("t=")) {
                        timestamp = pair.substring(2);
                    } else if (pair.startsWith("v1=")) {
                        signatures.add(pair.substring(3));
                    }
                }
                before = timestamp + ".";
            }
        }
        if (signatures.isEmpty() || signatures.get(0).isEmpty()) {
            return 400;
        }
        if (!PROFILE.equals("paywise")) {
            if (!timestamp.matches("[0-9]{1,12}")) {
                return 400;
            }
            if (Math.abs(Instant.now().getEpochSecond() - Long.parseLong(timestamp)) > 300) {
                return 401;
            }
        }
        for (byte[] key : KEYS) {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            mac.update(before.getBytes(StandardCharsets.UTF_8));
            byte[] digest = mac.doFinal(body);
            String text = PROFILE.equals("standard") ? Base64.getEncoder().encodeToString(digest) : HexFormat.of().formatHex(digest);
            byte[] want = (prefix + text).getBytes(StandardCharsets.UTF_8);
            for (String signature : signatures) {
                if (MessageDigest.isEqual(want, signature.getBytes(StandardCharsets.UTF_8))) {
                    return 200;
                }
            }
        }
        return 401;
    }

    // key decodes a secret to a key, which is empty if the text is not base64.
    static byte[] key(String secret) {
        if (PROFILE.equals("paywise")) {
            return secret.getBytes(StandardCharsets.UTF_8); // not decoded
        }
        try {
            return Base64.getDecoder().decode(secret.startsWith("whsec_") ? secret.substring(6) : secret);
        } catch (IllegalArgumentException e) {
            return new byte[0];
        }
    }

    static String header(HttpExchange exchange, String name) {
        String value = exchange.getRequestHeaders().getFirst(name);
        return value == null ? "" : value;
    }

    static String member(String json, String name) {
        Matcher m = Pattern.compile("\"" + name + "\"\\s*:\\s*\"([^\"\\\\]*)\"").matcher(json);
        return m.find() ? m.group(1) : "";
    }

    static String env(String name, String preset) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? preset : value;
    }

    static void stop(String message) {
        System.err.println(message);
        System.exit(1);
    }
}

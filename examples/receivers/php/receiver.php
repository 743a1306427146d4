<?php
// An example webhook receiver. It verifies every request over its raw bytes, handles each
// event once and responds immediately. It needs only PHP 8.0 or newer:
//
//   PROFILE=standard SECRET=whsec_... php -S 127.0.0.1:3000 receiver.php
//
// PROFILE names the wire format. SECRET contains the endpoint's secret, or two of them
// separated by a space during a rotation. Behind a real web server, use this file as the
// script of one route. Run it behind your TLS proxy.
declare(strict_types=1);

const BODY_LIMIT = 1 << 20;

// secret_key decodes a secret to a key. It returns null if the text is not a secret of the
// format.
function secret_key(string $profile, string $secret): ?string
{
    if ($profile === 'paywise') {
        return strlen($secret) >= 24 ? $secret : null; // not decoded
    }
    if ($profile === 'standard' && str_starts_with($secret, 'whsec_')) {
        $secret = substr($secret, 6);
    }
    $key = base64_decode($secret, true);
    return $key !== false && strlen($key) >= 24 ? $key : null;
}

function fresh(string $timestamp): bool
{
    return preg_match('/^[0-9]{1,12}$/', $timestamp) === 1 && abs(time() - (int) $timestamp) <= 300;
}

// verify returns 200, or the status of the refusal.
function verify(string $profile, array $headers, string $body, array $keys): int
{
    $timestamp = '';
    $signatures = [];
    if ($profile === 'standard') {
        $id = $headers['webhook-id'] ?? '';
        $timestamp = $headers['webhook-timestamp'] ?? '';
        // During a rotation there are several signatures, separated by spaces.
        $signatures = array_filter(explode(' ', $headers['webhook-signature'] ?? ''));
        if ($id === '' || $timestamp === '' || $signatures === []) {
            return 400;
        }
        $want = fn (string $key): string => 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    } elseif ($profile === 'paywise') {
        $signatures = array_filter([$headers['x-paywise-signature'] ?? '']);
        if ($signatures === [] || ($headers['x-paywise-delivery-id'] ?? '') === '') {
            return 400;
        }
        $want = fn (string $key): string => 'sha256=' . hash_hmac('sha256', $body, $key);
    } else {
        foreach (explode(',', $headers['x-paysway-signature'] ?? '') as $pair) {
            [$name, $value] = explode('=', $pair, 2) + [1 => ''];
            if ($name === 't') {
                $timestamp = $value;
            } elseif ($name === 'v1') {
                $signatures[] = $value;
            }
        }
        if ($timestamp === '' || $signatures === []) {
            return 400;
        }
        $want = fn (string $key): string => hash_hmac('sha256', "$timestamp.$body", $key);
    }
    if ($profile !== 'paywise' && !fresh($timestamp)) {
        return 401;
    }
    foreach ($keys as $key) {
        foreach ($signatures as $signature) {
            if (hash_equals($want($key), $signature)) {
                return 200;
            }
        }
    }
    return 401;
}

// read parses a verified request into the type of the event and its ids. If one of the ids
// was handled before, so was the event.
function read(string $profile, array $headers, string $body): array
{
    $event = json_decode($body, true, 512, JSON_BIGINT_AS_STRING);
    if ($profile === 'standard') {
        return [$event['type'] ?? '', [$headers['webhook-id']]];
    }
    if ($profile === 'paywise') {
        // paywise signs neither the delivery id nor a time, so anyone who recorded a request could
        // send it again under another id. The digest of the body therefore counts, too.
        return [$event['event'] ?? '', [$headers['x-paywise-delivery-id'], 'body:' . hash('sha256', $body)]];
    }
    return [$event['eventType'] ?? '', [$event['id'] ?? '']];
}

// once represents a transaction of your database: look up the ids in a unique column, act,
// insert the ids, commit. Here a file next to this one serves as the table.
function once(string $type, array $ids): void
{
    $file = fopen(__DIR__ . '/seen.txt', 'c+');
    flock($file, LOCK_EX);
    $seen = explode("\n", (string) stream_get_contents($file));
    $known = array_intersect($ids, $seen) !== [];
    if (!$known) {
        fwrite($file, implode("\n", $ids) . "\n");
    }
    fclose($file); // also unlocks it
    file_put_contents('php://stdout', ($known ? 'duplicate' : 'handled') . " $type $ids[0]\n");
}

function answer(): int
{
    $profile = getenv('PROFILE') ?: 'standard';
    if (!in_array($profile, ['standard', 'paysway', 'paysway-2025-09', 'paywise'], true)) {
        error_log("PROFILE is $profile; it must be standard, paysway, paysway-2025-09 or paywise.");
        return 500;
    }
    $keys = array_map(fn (string $secret): ?string => secret_key($profile, $secret), array_values(array_filter(explode(' ', getenv('SECRET') ?: ''))));
    if ($keys === [] || in_array(null, $keys, true)) {
        error_log("SECRET is not a secret of $profile; copy it whole, as it was shown with the endpoint.");
        return 500;
    }
    if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
        return 405;
    }
    $body = (string) file_get_contents('php://input', false, null, 0, BODY_LIMIT + 1); // the raw bytes, which were signed
    if (strlen($body) > BODY_LIMIT) {
        return 413;
    }
    $headers = array_change_key_case(getallheaders(), CASE_LOWER);
    $status = verify($profile, $headers, $body, $keys);
    if ($status !== 200) {
        return $status;
    }
    [$type, $ids] = read($profile, $headers, $body);
    if (!is_string($type) || $type === '' || !is_string($ids[0]) || $ids[0] === '') {
        return 400; // genuine, but not an event
    }
    once($type, $ids);
    return 200;
}

http_response_code(500); // until the end: after an error, the sender will retry
http_response_code(answer());

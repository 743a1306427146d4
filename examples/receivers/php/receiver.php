<?php
// A webhook receiver to copy from: it verifies every request over its raw bytes, handles
// each event once and answers at once. PHP 8.0 or newer, nothing else:
//
//   PROFILE=standard SECRET=whsec_... php -S 127.0.0.1:3000 receiver.php
//
// PROFILE names the wire format, SECRET holds the endpoint's secret (two of them,
// separated by a space, while it is being rotated). Behind a real web server the same
// file is the script of one route. Put your TLS proxy in front.
declare(strict_types=1);

const BODY_LIMIT = 1 << 20;

// secret_key returns the bytes behind a secret, or null if it is none of the format.
function secret_key(string $profile, string $secret): ?string
{
    if ($profile === 'paywise') {
        return strlen($secret) >= 24 ? $secret : null; // it is not decoded
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

// verify returns 200, or the status to refuse the request with.
function verify(string $profile, array $headers, string $body, array $keys): int
{
    $timestamp = '';
    $signatures = [];
    if ($profile === 'standard') {
        $id = $headers['webhook-id'] ?? '';
        $timestamp = $headers['webhook-timestamp'] ?? '';
        // While a secret is being rotated there are several, separated by a space.
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

// read takes a verified request apart: the type of the event and its ids. It was handled
// before if one of its ids was.
function read(string $profile, array $headers, string $body): array
{
    $event = json_decode($body, true, 512, JSON_BIGINT_AS_STRING);
    if ($profile === 'standard') {
        return [$event['type'] ?? '', [$headers['webhook-id']]];
    }
    if ($profile === 'paywise') {
        // The delivery id is not signed, and neither is a time: whoever recorded a request
        // could send it again under another id. So the digest of the body counts too.
        return [$event['event'] ?? '', [$headers['x-paywise-delivery-id'], 'body:' . hash('sha256', $body)]];
    }
    return [$event['eventType'] ?? '', [$event['id'] ?? '']];
}

// once stands for a transaction of your database: look the ids up in a unique column,
// act, insert them, commit. Here a file beside this one is the table.
function once(string $type, array $ids): void
{
    $file = fopen(__DIR__ . '/seen.txt', 'c+');
    flock($file, LOCK_EX);
    $seen = explode("\n", (string) stream_get_contents($file));
    $known = array_intersect($ids, $seen) !== [];
    if (!$known) {
        fwrite($file, implode("\n", $ids) . "\n");
    }
    fclose($file); // and unlocks it
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
    $body = (string) file_get_contents('php://input', false, null, 0, BODY_LIMIT + 1); // bytes: they are what was signed
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
        return 400; // genuine, but no event
    }
    once($type, $ids);
    return 200;
}

http_response_code(500); // until the end: a fault is no success, the sender will repeat it
http_response_code(answer());

<?php
// Guzzle alone: raw_guzzle.php PLAN STYLE, where STYLE is `stack` or `none`.
require '/usr/share/php/GuzzleHttp/autoload.php';
require __DIR__ . '/gate_guzzle.php';

use GuzzleHttp\Client;
use GuzzleHttp\HandlerStack;
use GuzzleHttp\TransferStats;

$plan = json_decode(file_get_contents($argv[1]), true);
$stack = HandlerStack::create();
if ($argv[2] === 'stack') {
    foreach ($plan['routes'] as [$vendor, $gate, $key]) {
        throughGate($vendor, $gate, $key, $stack);
    }
}
$client = new Client(['handler' => $stack, 'http_errors' => false]);
$outcomes = [];
foreach ($plan['requests'] as $one) {
    $last = '';
    $answer = $client->request($one['method'], $one['url'], [
        'headers' => $one['headers'],
        'body' => hex2bin($one['body']),
        'auth' => $one['auth'],
        'on_stats' => function (TransferStats $stats) use (&$last) {
            $last = (string) $stats->getEffectiveUri();
        },
    ]);
    $outcomes[] = ['status' => $answer->getStatusCode(), 'url' => $last, 'body' => (string) $answer->getBody()];
}
echo json_encode($outcomes), "\n";

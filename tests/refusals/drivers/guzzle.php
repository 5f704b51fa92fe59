<?php
// php guzzle.php < cases > outcomes; a line of JSON each. Guzzle over PHP's curl, as Debian packs them.
require 'GuzzleHttp/autoload.php';

use GuzzleHttp\Client;
use GuzzleHttp\Psr7\PumpStream;

function body(int $size, bool $chunked)
{
    if ($size === 0) {
        return null;
    }
    if (!$chunked) {
        return str_repeat('x', $size);
    }
    // Without a size it is sent in chunks.
    return new PumpStream(function (int $most) use (&$size) {
        $piece = str_repeat('x', min($most, $size));
        $size -= strlen($piece);
        return $piece === '' ? false : $piece;
    });
}

$client = new Client(['http_errors' => false, 'allow_redirects' => false, 'timeout' => 60, 'proxy' => '']);
while (($line = fgets(STDIN)) !== false) {
    $asked = json_decode($line, true);
    try {
        $answer = $client->request($asked['method'], $asked['url'], [
            'headers' => $asked['headers'],
            'body' => body($asked['size'], $asked['chunked']),
        ]);
        $problem = json_decode((string) $answer->getBody(), true);
        $outcome = ['status' => $answer->getStatusCode(), 'code' => $problem['code'] ?? ''];
    } catch (Throwable $error) {
        $outcome = ['error' => get_class($error) . ': ' . $error->getMessage()];
    }
    echo json_encode($outcome), "\n";
}

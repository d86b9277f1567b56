<?php
// Everybody's password is their name.
$config = ['people' => ['exampleauth:UserPass']];
foreach (json_decode(getenv('SSP_PEOPLE'), true) as $name => $groups) {
    $config['people']["$name:$name"] = [
        'uid' => [$name], 'mail' => ["$name@example.com"], 'displayName' => [$name], 'memberOf' => $groups,
    ];
}

<?php
// What a test wrote down about the platform.
foreach (json_decode(file_get_contents(getenv('SSP_FOLDER') . '/sp.json'), true) as $entity => $about) {
    $metadata[$entity] = $about;
}

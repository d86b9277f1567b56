<?php
$metadata[getenv('SSP_URL') . '/metadata'] = [
    'host' => '__DEFAULT__',
    'privatekey' => 'idp.key',
    'certificate' => 'idp.pem',
    'auth' => 'people',
    'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
    'authproc' => [
        1 => ['class' => 'saml:AttributeNameID', 'attribute' => 'uid', 'identifyingAttribute' => 'uid',
              'Format' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent'],
    ],
];

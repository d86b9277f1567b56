<?php
// SimpleSAMLphp as an identity provider for tests: its address and folders come from the environment.
$here = getenv('SSP_FOLDER');
$config = [
    'baseurlpath' => getenv('SSP_URL') . '/',
    'certdir' => "$here/cert/",
    'loggingdir' => "$here/log/",
    'datadir' => "$here/data/",
    'tempdir' => "$here/tmp/",
    'metadatadir' => getenv('SIMPLESAMLPHP_CONFIG_DIR'),
    'secretsalt' => 'a-salt-of-the-tests',
    'auth.adminpassword' => bin2hex(random_bytes(16)),
    'technicalcontact_email' => 'nobody@example.com',
    'timezone' => 'UTC',
    'logging.handler' => 'errorlog',
    'logging.level' => 3,
    'showerrors' => true,
    'errorreporting' => false,
    'enable.saml20-idp' => true,
    'module.enable' => ['core' => true, 'saml' => true, 'exampleauth' => true],
    'session.cookie.secure' => false,
    'session.cookie.name' => 'SspSession',
    'session.phpsession.cookiename' => 'SspPhp',
    'session.phpsession.savepath' => "$here/tmp",
    'store.type' => 'phpsession',
    'theme.use' => 'default',
    'language.default' => 'en',
    'metadata.sources' => [['type' => 'flatfile', 'directory' => getenv('SIMPLESAMLPHP_CONFIG_DIR')]],
];

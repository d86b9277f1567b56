// A real SAML identity provider (npm samlp, Auth0's) for tests, on a free port of 127.0.0.1.
// argv: the package's folder, JSON {key, cert, people: {name: [groups]}, sp: {acs, encryptWith}}.
// Prints its address when it listens. /metadata, /sso (a login form, then a form that posts the answer),
// /unasked?as=NAME (an answer nobody asked for). `how` in the address: response, both, encrypted, cbc.
const { join } = require('node:path');

const [folder, given] = process.argv.slice(2);
const config = JSON.parse(given);
const load = (name) => require(join(folder, 'node_modules', name));
const say = console.log;
console.log = console.info = console.warn = () => {};
const samlp = load('samlp');
const express = load('express');
const app = express();
app.use(express.urlencoded({ extended: false }));

const page = (body) => `<!doctype html><html><body>${body}</body></html>`;
const hidden = (name, value) => `<input type="hidden" name="${name}" value="${String(value).replace(/"/g, '&quot;')}">`;

class Profile {
  constructor(person) { this.person = person; }
  getClaims() {
    return { mail: `${this.person}@example.com`, groups: config.people[this.person], displayName: this.person };
  }
  getNameIdentifier() {
    return {
      nameIdentifier: `id-${this.person}`,
      nameIdentifierFormat: 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
    };
  }
}
function mapper(person) { return new Profile(person); }
mapper.prototype.metadata = [];

function answering(person, how) {
  const encrypted = how === 'encrypted' || how === 'cbc';
  return samlp.auth({
    issuer: config.issuer, cert: config.cert, key: config.key, profileMapper: mapper,
    getUserFromRequest: () => person,
    getPostURL: (audience, dom, request, done) => done(null, config.sp.acs),
    destination: config.sp.acs, recipient: config.sp.acs, audience: config.sp.entity,
    signAssertion: how !== 'response', signResponse: how === 'response' || how === 'both',
    lifetimeInSeconds: 300, sessionIndex: `_session-${person}`,
    authnContextClassRef: 'urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport',
    ...(encrypted && {
      encryptionCert: config.sp.encryptWith,
      encryptionPublicKey: require('node:crypto').createPublicKey(config.sp.encryptWith)
        .export({ type: 'spki', format: 'pem' }),
      ...(how === 'cbc' && {
        encryptionAlgorithm: 'http://www.w3.org/2001/04/xmlenc#aes256-cbc',
        disallowEncryptionWithInsecureAlgorithm: false, warnOnInsecureEncryptionAlgorithm: false,
      }),
    }),
  });
}

app.get('/sso', (request, response) => {
  const fields = Object.entries(request.query).map(([name, value]) => hidden(name, value)).join('');
  response.send(page(`<form method="post" action="/sso">${fields}<input name="person" value=""><button>Go</button></form>`));
});
app.post('/sso', (request, response, next) => {
  if (!config.people[request.body.person]) return response.status(403).send(page('nobody'));
  request.query = { SAMLRequest: request.body.SAMLRequest, RelayState: request.body.RelayState };
  request.method = 'GET';
  return answering(request.body.person, config.how)(request, response, next);
});
app.get('/unasked', (request, response, next) => answering(request.query.as, config.how)(request, response, next));
app.post('/how', (request, response) => { Object.assign(config, request.body); response.send('ok'); });
app.post('/sp', (request, response) => { Object.assign(config.sp, request.body); response.send('ok'); });

const server = app.listen(0, '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}`;
  config.issuer = `${url}/metadata`;
  app.get('/metadata', samlp.metadata({
    issuer: config.issuer, cert: config.cert, endpointPath: '/sso', redirectEndpointPath: '/sso',
    postEndpointPath: '/sso', profileMapper: mapper,
  }));
  say(url);
});

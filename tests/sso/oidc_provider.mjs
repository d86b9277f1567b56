// A real OpenID provider (the certified npm package oidc-provider) for tests, on a free port of 127.0.0.1.
// argv: the package's folder, redirect addresses (commas), JSON {person: [groups]}. Prints its issuer when it listens.
// A name on standard input takes that person out of it.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [folder, redirects, groups] = process.argv.slice(2);
const say = console.log;
console.log = console.info = console.warn = () => {};
const { Provider } = await import(pathToFileURL(`${folder}/node_modules/oidc-provider/lib/index.js`));
const people = JSON.parse(groups);
let handle = (request, response) => response.end();
const server = createServer((request, response) => handle(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: 'platform', client_secret: 'a-secret-of-the-tests', redirect_uris: redirects.split(','),
        post_logout_redirect_uris: redirects.split(',').map((to) => new URL('/auth/signed-out', to).href),
        backchannel_logout_uri: new URL('/auth/backchannel/corp', redirects.split(',')[0]).href,
        backchannel_logout_session_required: true,
        grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
      },
    ],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
    scopes: ['openid', 'email', 'profile', 'groups', 'offline_access'],
    conformIdTokenClaims: false,
    // Everything of a test is on this machine, which the provider would not call otherwise.
    fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
    pkce: { required: () => true },
    features: { devInteractions: { enabled: true }, backchannelLogout: { enabled: true } },
    findAccount: (context, id) => people[id] && {
      accountId: id,
      claims: () => ({ sub: id, name: id, email: `${id}@example.com`, email_verified: true, groups: people[id] }),
    },
  });
  handle = provider.callback();
  say(issuer);
});
createInterface({ input: process.stdin }).on('line', (person) => {
  delete people[person];
  say(`forgot ${person}`);
});

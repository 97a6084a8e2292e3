/**
 * The consent flow by the official `pryv` package, on a cluster of cores: an app asks at one core, the
 * page on which the user agrees answers at another, and the app polls at a third.
 *
 * Takes and prints the same as sdk.mjs, but for the recording.
 */
import assert from 'node:assert/strict';

import pryv from 'pryv';
import { discover } from 'homecore-client';

import { APP, PASSWORD, describe, register, run, serviceAt } from './support.mjs';

await run('consent.mjs', async ({ cores }) => {
  const runs = [];
  for (const [i, asks] of cores.entries()) {
    const { username } = await register(asks);
    const home = (await discover(asks, username)).replace(`${username}/`, '');
    runs.push(await consented(username, home, asks, cores[(i + 1) % cores.length]));
  }
  return { ok: true, sdk: pryv.version, runs };
});

/** What the app was given works, for that and nothing else, until it is revoked. */
async function consented (username, home, asks, polls) {
  const requestedPermissions = [{ streamId: 'diary', level: 'contribute', defaultName: 'Diary' }];
  const request = { requestingAppId: 'diary-app', requestedPermissions, languageCode: 'en' };
  const app = serviceAt(asks);
  const asked = await app.startAccessRequest(request);
  assert.equal((await app.pollAccessRequest(asked.key)).status, 'NEED_SIGNIN');

  // What the page does.
  const page = await serviceAt(home).login(username, PASSWORD, APP);
  const check = await page.post('accesses/check-app', { requestingAppId: 'diary-app', requestedPermissions });
  assert.ok(check.checkedPermissions, JSON.stringify(check));
  await page.apiOne('streams.create', { id: 'letters', name: 'Letters' }, 'stream');
  const { access } = await page.post('accesses', {
    name: 'diary-app',
    type: 'app',
    permissions: check.checkedPermissions
  });
  const answer = { status: 'ACCEPTED', apiEndpoint: access.apiEndpoint, username, token: access.token };
  await answerAccessRequest(serviceAt(home), asked.key, answer);

  const accepted = await serviceAt(polls).pollAccessRequest(asked.key);
  assert.equal(accepted.status, 'ACCEPTED', JSON.stringify(accepted));
  const diary = new pryv.Connection(accepted.apiEndpoint);
  const entry = { streamIds: ['diary'], type: 'note/txt', content: 'Dear diary' };
  await diary.apiOne('events.create', entry, 'event');
  const elsewhere = await diary.apiOne('events.create', { ...entry, streamIds: ['letters'] }).then(
    () => assert.fail('the app writes where it was given nothing'),
    error => error
  );
  assert.equal(elsewhere.innerObject.id, 'forbidden', describe(elsewhere));
  await diary.revoke();
  const gone = await diary.get('events', { limit: 1 });
  assert.equal(gone.error?.id, 'invalid-access-token', JSON.stringify(gone));

  const again = await app.startAccessRequest(request);
  await answerAccessRequest(app, again.key, { status: 'REFUSED', reasonID: 'access-refused', message: 'No.' });
  const refused = await app.pollAccessRequest(again.key);
  assert.equal(refused.status, 'REFUSED');
  return { asks, polls, accepted: accepted.username, refused: refused.status };
}

/** The package has no method for the page's side. */
async function answerAccessRequest (service, key, body) {
  const { access } = await service.info();
  const response = await fetch(`${access}${key}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body)
  });
  assert.ok(response.ok || response.status === 403, `${response.status} ${await response.text()}`);
}


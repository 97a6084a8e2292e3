/**
 * What the scripts share: their input and output, and users and services by the package.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';

import pryv from 'pryv';

export const PASSWORD = 'correct-horse-battery';
export const APP = 'homecore-contract';

/**
 * Runs a script on its input, one JSON object as argument or in HOMECORE_SDK; prints its result, and
 * ends with 1 if it failed.
 */
export async function run (name, main) {
  let result;
  const input = readInput(name);
  try {
    result = await main(input);
  } catch (error) {
    result = { ok: false, error: describe(error) };
  }
  console.log(JSON.stringify(result, null, 2));
  process.exitCode = result.ok ? 0 : 1;
}

/** Registers somebody new at a core by the package. */
export async function register (core) {
  const username = `sdk${randomBytes(6).toString('hex')}`;
  const service = serviceAt(core);
  assert.equal(await service.userExists(username), false);
  const created = await service.createUser({
    username,
    password: PASSWORD,
    email: `${username}@example.com`,
    appId: APP,
    hosting: 'auto'
  });
  assert.equal(created.username, username);
  assert.equal(await service.userExists(username), true);
  return { username, registered: core };
}

/** A service by the path of a core. Names below a domain are for DNS, which this script has not. */
export function serviceAt (core) {
  return new pryv.Service(`${core}reg/service/info`, {
    api: `${core}{username}/`,
    register: `${core}reg/`,
    access: `${core}reg/access/`
  });
}

function readInput (name) {
  const text = process.argv[2] ?? process.env.HOMECORE_SDK;
  if (text === undefined) {
    console.error(`usage: node ${name} '{"cores":["http://…/",…],"serviceInfo":"http://…/reg/service/info","csv":"recording.csv"}'`);
    process.exit(2);
  }
  const { cores, serviceInfo, csv } = JSON.parse(text);
  return { cores: cores.map(core => (core.endsWith('/') ? core : `${core}/`)), serviceInfo, csv };
}

export function describe (error) {
  const answer = error.response?.body === undefined ? '' : ` ${JSON.stringify(error.response.body)}`;
  const cause = error.cause === undefined ? '' : `, because ${error.cause}`;
  return `${error.stack ?? error}${cause}${answer}`.slice(0, 8_000);
}

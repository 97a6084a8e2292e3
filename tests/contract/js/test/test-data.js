/**
 * The account on which the packages' own tests work. They look for it at this path, beside the
 * repository that they were written in.
 *
 * The cluster is told by HOMECORE_SERVICE_INFO: the URL of a core's service information. `prepare`
 * registers a user there, logs it in and makes the stream `data`; the user's home may be another core.
 */
const { randomBytes } = require('node:crypto');
const pryv = require('pryv');

const APP = 'js-lib-test';
const username = `suite${randomBytes(6).toString('hex')}`;

const testData = {
  username,
  password: `${username}-password`,
  serviceInfoUrl: process.env.HOMECORE_SERVICE_INFO,
  serviceInfo: null,
  token: null,
  apiEndpoint: null,
  apiEndpointWithToken: null,
  prepare
};

let prepared;

/** Once for all files; a failure is told to each of them. */
function prepare () {
  prepared ??= register();
  return prepared;
}

async function register () {
  const service = new pryv.Service(testData.serviceInfoUrl);
  testData.serviceInfo = await service.info();
  await service.createUser({
    username,
    password: testData.password,
    email: `${username}@pryv.io`,
    hosting: 'auto',
    appId: APP
  });
  const connection = await service.login(username, testData.password, APP);
  testData.token = connection.token;
  testData.apiEndpoint = connection.endpoint;
  testData.apiEndpointWithToken = connection.apiEndpoint;
  for (const id of ['data', 'monitor-test']) {
    await connection.apiOne('streams.create', { id, name: id }, 'stream');
  }
}

module.exports = testData;

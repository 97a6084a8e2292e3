/**
 * The one error class of this module; `code` says which case it is:
 *
 * - `body-not-replayable`: the core answered 421, but the body was a stream and is used up;
 *   send the request again (it will go to the right core);
 * - `insecure-core-url`: a 421 over https named an http address; nothing was sent there;
 * - `invalid-core-url`: a 421 named something that is no address of a core;
 * - `unknown-user`: no core of the cluster knows the user;
 * - `discovery-failed`: the cluster did not say where the user lives.
 */
export class HomecoreError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{ coreUrl?: string, status?: number, cause?: unknown }} [details]
   */
  constructor (code, message, details = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'HomecoreError';
    /** @type {string} */
    this.code = code;
    /** @type {string | undefined} the core that was named, where one was */
    this.coreUrl = details.coreUrl;
    /** @type {number | undefined} the HTTP status of the answer, where there was one */
    this.status = details.status;
  }
}

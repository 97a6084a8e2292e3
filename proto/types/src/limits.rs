//! Every bound of the product in one place: what may queue, grow, wait or repeat, and how far.

use std::time::Duration;

/// Largest JSON body (`uploads.maxSizeMb` default, spec/pryv-api §1.6).
pub const BODY_BYTES_MAX: usize = 50 * 1024 * 1024;
/// What the values of one JSON text may take in memory, as [`crate::json::value_bytes`] estimates it:
/// some seven million numbers.
pub const JSON_VALUE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Bytes of one file in a request, unless the operator says otherwise (the same default).
pub const UPLOAD_BYTES_MAX: u64 = 50 * 1024 * 1024;
/// Longest time a request may take before it is answered 503.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests served at once by one core; more get 503 with `Retry-After`.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 4_096;
/// Connections open at once on the HTTP listener.
pub const CONNECTIONS_MAX: usize = 20_000;
/// A client must have sent its header within this time.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of request line and headers together.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Calls in one batch.
pub const BATCH_CALLS_MAX: usize = 10_000;
/// Items that may be collected where a result cannot be streamed (spec/pryv-api §1.9).
pub const COLLECTED_ITEMS_MAX: usize = 100_000;
/// Bytes of a catalogue of event types: ten times the public one.
pub const EVENT_TYPES_BYTES_MAX: usize = 1024 * 1024;
/// Streams that one user may have.
pub const STREAMS_PER_USER_MAX: usize = 100_000;
/// Accesses that one access may have created and that are not deleted.
pub const ACCESSES_PER_CREATOR_MAX: usize = 10_000;
/// Random aliases that one user may have: every core holds them in memory.
pub const ALIASES_MAX: usize = 1_000;
/// Permission entries of one access.
pub const PERMISSIONS_PER_ACCESS_MAX: usize = 1_000;
/// Bytes of one access as it is stored.
pub const ACCESS_BYTES_MAX: usize = 256 * 1024;
/// Shared secrets of one user that wait at once.
pub const SHARED_SECRETS_PENDING_MAX: usize = 256;
/// The same of one access.
pub const SHARED_SECRETS_PER_ACCESS_MAX: usize = 64;

/// Bytes of one profile.
pub const PROFILE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one platform command.
pub const COMMAND_BYTES_MAX: usize = 1024 * 1024;
/// Platform commands waiting for the leader on one core.
pub const COMMANDS_IN_FLIGHT_MAX: usize = 2_048;
/// How long a platform write may take before its outcome is reported as unknown.
pub const PLATFORM_WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a current read of the platform may take.
pub const PLATFORM_READ_TIMEOUT: Duration = Duration::from_secs(3);
/// A reservation that is not committed within this time is swept.
pub const RESERVATION_TTL: Duration = Duration::from_secs(60);
/// How long a pending access request lives (spec/platform §3.7).
pub const ACCESS_REQUEST_TTL: Duration = Duration::from_secs(3_600);
/// Pending access requests on the whole platform.
pub const ACCESS_REQUESTS_MAX: usize = 100_000;
/// Bytes of one access request's stored state.
pub const ACCESS_REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Default life of a join token (spec/platform §6.4).
pub const JOIN_TOKEN_TTL: Duration = Duration::from_secs(24 * 3_600);
/// Most voters that the cluster chooses.
pub const VOTERS_MAX: usize = 5;

/// Bytes of one core-to-core message.
pub const RPC_MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one chunk of a snapshot on the wire.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1024 * 1024;

/// Writes waiting at one writer thread of the store; more are answered busy.
pub const WRITER_QUEUE_MAX: usize = 4_096;
/// Reads waiting for a reader thread.
pub const READER_QUEUE_MAX: usize = 4_096;
/// Writes of one shard that share a journal sync.
pub const COMMIT_GROUP_MAX: usize = 512;
/// Users whose databases are open at once on one core.
pub const OPEN_USERS_MAX: usize = 1_200;
/// Those of them that keep pages of their databases in memory, and several handles for reading: the ones
/// used last.
pub const AWAKE_USERS_MAX: usize = 64;
/// Users beside them whose databases are open for writing and were not written to again.
pub const WRITTEN_ONCE_MAX: usize = 100;
/// Such a database is closed when idle for this long.
pub const WRITTEN_ONCE_IDLE: Duration = Duration::from_secs(10);
/// A user's database is closed when idle for this long.
pub const USER_IDLE: Duration = Duration::from_secs(120);
/// Password hashes computed at once; each takes some 20 MB.
pub const HASHES_AT_ONCE_MAX: usize = 2;
/// Password hashes waiting; more are answered busy.
pub const HASH_QUEUE_MAX: usize = 256;
/// Calls of the blob engine at once, each on a blocking thread.
pub const BLOB_THREADS_MAX: usize = 16;
/// Files being received at once; more are answered busy.
pub const UPLOADS_MAX: usize = 256;
/// The same of one user.
pub const UPLOADS_PER_USER_MAX: usize = 16;
/// Files being sent at once; more are answered busy.
pub const DOWNLOADS_MAX: usize = 1_024;
/// The same of one user.
pub const DOWNLOADS_PER_USER_MAX: usize = 64;
/// A file that is being received or sent and stands still for this long loses its place where
/// another needs it.
pub const TRANSFER_IDLE: Duration = Duration::from_secs(60);
/// Files in one request.
pub const FILES_PER_REQUEST_MAX: usize = 256;
/// Files attached to one event.
pub const ATTACHMENTS_PER_EVENT_MAX: usize = 1_000;
/// A blob that no document refers to is left alone until it is this old.
pub const ORPHAN_AGE: Duration = Duration::from_secs(600);
/// Previews made at once, each with a picture in memory.
pub const PREVIEWS_AT_ONCE_MAX: usize = 2;
/// Requests for previews that wait for one to be made; more are answered busy.
pub const PREVIEWS_WAITING_MAX: usize = 512;
/// The same of one user.
pub const PREVIEWS_WAITING_PER_USER_MAX: usize = 128;
/// How long a request waits for its preview before it is answered busy.
pub const PREVIEW_WAIT: Duration = Duration::from_secs(20);
/// Bytes of a file of which a preview is made.
pub const PREVIEW_SOURCE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Pixels of a picture of which a preview is made: what the largest phones take.
pub const PREVIEW_PIXELS_MAX: u64 = 52_000_000;
/// Pictures with more pixels are decoded one at a time.
pub const PREVIEW_ALONE_PIXELS: u64 = 16_000_000;
/// Pixels of its longer side.
pub const PREVIEW_SIDE_MAX: u32 = 30_000;
/// Bytes of its decoded pixels.
pub const PREVIEW_DECODED_BYTES_MAX: u64 = 4 * PREVIEW_PIXELS_MAX;
/// Samples that a JPEG goes over in all of its scans: a dozen scans of the largest picture in colour.
pub const PREVIEW_SCANNED_SAMPLES_MAX: u64 = 12 * 3 * PREVIEW_PIXELS_MAX;
/// A preview that was not used for this long is deleted (`eventFiles.previewsCacheMaxAge`).
pub const PREVIEW_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Bytes of all previews of one core.
pub const PREVIEWS_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// How long a personal session lives without use (`auth.sessionMaxAge`).
pub const SESSION_MAX_AGE: Duration = Duration::from_secs(14 * 24 * 3_600);
/// How long a token to reset a password works (`auth.passwordResetRequestMaxAge`).
pub const PASSWORD_RESET_MAX_AGE: Duration = Duration::from_secs(3_600);
/// Addresses of one account, the present one included (`account.maxEmails` is no larger).
pub const EMAILS_MAX: usize = 20;
/// How long a second factor may be given after the password (`services.mfa.sessions.ttlSeconds`).
pub const MFA_MAX_AGE: Duration = Duration::from_secs(1_800);
/// Log-ins that wait for a second factor on one core; more are answered busy.
pub const MFA_SESSIONS_MAX: usize = 10_000;
/// The same of one user; one more ends the oldest.
pub const MFA_SESSIONS_PER_USER_MAX: usize = 10;
/// Codes that may be tried in one such log-in.
pub const MFA_TRIES_MAX: u8 = 5;
/// Bytes of what a person's codes are sent with.
pub const MFA_CONTENT_BYTES_MAX: usize = 4 * 1024;
/// Mails waiting to be sent on one core; more are answered busy.
pub const MAILS_MAX: usize = 1_000;
/// Mails being sent at once.
pub const MAILS_AT_ONCE_MAX: usize = 8;

/// Bytes of a DNS answer over UDP (RFC 9715 and DNS flag day 2020).
pub const DNS_UDP_BYTES_MAX: u16 = 1232;
/// TCP connections of the DNS server.
pub const DNS_TCP_CONNECTIONS_MAX: usize = 512;
/// Idle time after which a DNS TCP connection is closed.
pub const DNS_TCP_IDLE: Duration = Duration::from_secs(10);

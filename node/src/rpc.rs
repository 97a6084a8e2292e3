//! What this core says to other cores and to its operator: the cluster's certificates, the gRPC
//! listener with mutual TLS, joining, and the local socket.

pub(crate) mod admin;
pub(crate) mod archives;
mod connection;
pub(crate) mod enrolment;
mod exports;
pub(crate) mod files;
pub(crate) mod join;
mod mail_templates;
pub(crate) mod membership;
pub(crate) mod peers;
pub(crate) mod pki;
pub(crate) mod records;
pub(crate) mod secrets;
mod sections;
pub(crate) mod server;
pub(crate) mod tls;
pub(crate) mod token;
pub(crate) mod users;

#[cfg(test)]
mod tests;

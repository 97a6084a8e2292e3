//! openraft's messages as frames.

use homecore_proto::raft::Frame;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Status;

use crate::types::{self, FORMAT};

/// Wraps a message.
pub(crate) fn pack<T: Serialize + ?Sized>(message: &T) -> Result<Frame, Status> {
    let body = types::encode(message).map_err(|error| Status::internal(error.to_string()))?;
    Ok(Frame {
        format: u32::from(FORMAT),
        body: body.into(),
        from: String::new(),
    })
}

/// Unwraps a message, or says which formats are known.
pub(crate) fn unpack<T: DeserializeOwned>(frame: &Frame) -> Result<T, Status> {
    check_format(frame.format)?;
    types::decode(&frame.body).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// Refuses a format that this release does not know.
pub(crate) fn check_format(format: u32) -> Result<(), Status> {
    if format == u32::from(FORMAT) {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "message format {format} is unknown here; known: {FORMAT}. Run the same release on all cores"
    )))
}

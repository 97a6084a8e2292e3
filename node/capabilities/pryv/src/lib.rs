//! The Pryv API.

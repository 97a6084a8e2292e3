//! Host and path routing, tokens, limits, the capability trait and the error envelope.

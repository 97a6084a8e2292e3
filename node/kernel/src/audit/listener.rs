//! Who is told of calls beside the user's own log: an operator's system log.
//!
//! It is told of what the log would say of a call, once its outcome is certain, whether the log keeps
//! it or not; each has its own filter. Telling never waits, and nothing depends on it.

use std::fmt::Debug;
use std::sync::Arc;

use homecore_types::UserId;

use super::entry::{Draft, Entry};
use crate::kernel::Kernel;

/// Is told of calls.
pub trait AuditListener: Debug + Send + Sync + 'static {
    /// Whether it wants to be told of calls of a method.
    fn hears(&self, method: &str) -> bool;

    /// Takes an entry. It must not wait: what it has no place for it drops.
    fn tell(&self, user: &UserId, entry: Entry);
}

impl Kernel {
    /// Tells somebody of calls. The first one stays.
    pub fn connect_audit_listener(&self, listener: Arc<dyn AuditListener>) {
        let _: &Arc<dyn AuditListener> = self.listener_cell().get_or_init(|| listener);
    }

    /// Who wants to be told of calls of a method.
    pub(crate) fn audit_listener(&self, method: &str) -> Option<&Arc<dyn AuditListener>> {
        let listener = self.listener_cell().get();
        listener.filter(|listener| self.settings().audit.active && listener.hears(method))
    }

    /// Tells whoever wants to hear it how a call ended. `draft` is asked for only then.
    pub(crate) fn tell(&self, user: &UserId, method: &str, draft: impl FnOnce() -> Draft) {
        if let Some(listener) = self.audit_listener(method) {
            listener.tell(user, draft().finish());
        }
    }
}

//! A telephone that gets codes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use homecore_kernel::ports::{CodeProviderError, CodeSender};
use serde_json::{Map, Value};

/// What was sent; and whether nothing more can be.
#[derive(Debug, Default)]
pub(crate) struct Phone {
    sent: Mutex<Vec<Map<String, Value>>>,
    pub(crate) broken: AtomicBool,
}

impl Phone {
    /// The last code.
    pub(crate) fn code(&self) -> String {
        let sent = self.sent.lock().unwrap();
        sent.last().unwrap()["code"].as_str().unwrap().to_owned()
    }

    /// Where it was sent.
    pub(crate) fn number(&self) -> Value {
        self.sent.lock().unwrap().last().unwrap()["phone"].clone()
    }
}

#[async_trait]
impl CodeSender for Phone {
    fn makes_codes(&self) -> bool {
        false
    }

    async fn send(&self, values: &Map<String, Value>) -> Result<(), CodeProviderError> {
        if self.broken.load(Ordering::SeqCst) {
            let reason = "broken".to_owned();
            return Err(CodeProviderError { reason });
        }
        self.sent.lock().unwrap().push(values.clone());
        Ok(())
    }

    async fn check(&self, _values: &Map<String, Value>) -> Result<(), CodeProviderError> {
        let reason = "it only sends".to_owned();
        Err(CodeProviderError { reason })
    }
}

//! Where a user lives: from memory, and for a name not known here, by a current read.

use std::sync::Arc;

use async_trait::async_trait;
use homecore_kernel::ports::{self, Home, Unavailable};
use homecore_raft::directory::Directory;
use homecore_types::Username;

use crate::cluster::Cluster;

/// The port.
#[derive(Debug)]
pub(crate) struct PlatformDirectory {
    cluster: Arc<Cluster>,
}

impl PlatformDirectory {
    /// As this core sees the platform.
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    fn look_up(&self, directory: &Directory, username: &str) -> Option<Home> {
        let user = directory.user(username).filter(|user| user.active)?;
        let username = Username::parse(directory.present_name(username)).ok()?;
        if user.core == self.cluster.core {
            return Some(Home::Here {
                user: user.id,
                username,
            });
        }
        let core = directory.core(&user.core)?;
        Some(Home::Elsewhere {
            username,
            core_url: core.addresses.url.clone(),
        })
    }
}

#[async_trait]
impl ports::Directory for PlatformDirectory {
    fn find(&self, username: &str) -> Option<Home> {
        self.look_up(&self.cluster.directory(), username)
    }

    async fn find_current(&self, username: &str) -> Result<Option<Home>, Unavailable> {
        // What is no username cannot be a user: no need to ask the leader.
        if Username::parse(username).is_err() {
            return Ok(None);
        }
        let directory = self
            .cluster
            .platform
            .current()
            .await
            .map_err(super::platform::read_failed)?;
        Ok(self.look_up(&directory, username))
    }
}

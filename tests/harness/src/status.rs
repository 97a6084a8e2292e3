//! What `homecore status --json` says.

use serde::Deserialize;

/// The cluster, as one core sees it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The cluster's id.
    pub cluster: String,
    /// The platform's domain, if it has one.
    pub domain: Option<String>,
    /// The core that was asked.
    pub core: String,
    /// The consensus term.
    pub term: u64,
    /// The leading core, if there is one.
    pub leader: Option<String>,
    /// The last platform command applied here.
    pub applied: Option<u64>,
    /// Whether the platform takes writes.
    pub quorum: bool,
    /// How many voters may fail yet.
    pub failures_tolerated: u64,
    /// All cores.
    pub cores: Vec<CoreStatus>,
}

/// One core of the cluster.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoreStatus {
    /// Its name.
    pub id: String,
    /// Its number in the consensus group.
    pub node: u64,
    /// Where apps reach it.
    pub url: String,
    /// Where other cores reach it.
    pub rpc: String,
    /// The version it runs.
    pub version: String,
    /// `leader`, `voter`, `learner`, `removed` or `unreachable`.
    pub role: String,
    /// `joining`, `serving`, `draining` or `removed`.
    pub state: String,
    /// Whether new users may live there.
    pub available: bool,
    /// The last platform command applied there, if known.
    pub applied: Option<u64>,
    /// Platform commands behind the leader, if known.
    pub lag: Option<u64>,
    /// How long it has been silent, if known.
    pub silent_ms: Option<u64>,
    /// Users who live there.
    pub users: u64,
}

impl Status {
    /// A core by its name.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&CoreStatus> {
        self.cores.iter().find(|core| core.id == id)
    }

    /// How many cores vote.
    #[must_use]
    pub fn voters(&self) -> usize {
        self.cores
            .iter()
            .filter(|core| matches!(core.role.as_str(), "leader" | "voter"))
            .count()
    }

    /// Whether all of `cores` cores serve, one leads, as many vote as should (1, 3 or 5), and none
    /// is behind.
    #[must_use]
    pub fn is_settled(&self, cores: usize) -> bool {
        let voters = match cores {
            0..=2 => 1,
            3..=4 => 3,
            _ => 5,
        };
        self.quorum
            && self.leader.is_some()
            && self.cores.len() == cores
            && self.voters() == voters
            && self
                .cores
                .iter()
                .all(|core| core.state == "serving" && core.lag.unwrap_or(0) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn core(id: &str, role: &str) -> serde_json::Value {
        json!({
            "id": id, "node": 1, "url": "http://127.0.0.1:1/", "rpc": "127.0.0.1:2",
            "version": "0.1.0", "role": role, "state": "serving", "available": true,
            "applied": 9, "lag": null, "silentMs": null, "users": 4, "hosting": null,
            "certificateExpires": null,
        })
    }

    fn status(roles: &[&str]) -> Status {
        let cores: Vec<_> = roles
            .iter()
            .enumerate()
            .map(|(i, role)| core(&format!("core-{i}"), role))
            .collect();
        serde_json::from_value(json!({
            "cluster": "c1", "domain": null, "core": "core-0", "term": 2, "leader": "core-0",
            "applied": 9, "quorum": true, "failuresTolerated": 1, "cores": cores,
        }))
        .unwrap()
    }

    #[test]
    fn settled_means_the_right_number_votes() {
        assert!(status(&["leader"]).is_settled(1));
        assert!(status(&["leader", "learner"]).is_settled(2));
        assert!(status(&["leader", "voter", "voter"]).is_settled(3));
        assert!(
            !status(&["leader", "voter"]).is_settled(2),
            "the two-voter trap"
        );
        assert!(!status(&["leader", "voter", "learner"]).is_settled(3));
        assert!(!status(&["leader", "voter", "voter"]).is_settled(4));
        let mut behind = status(&["leader"]);
        if let Some(core) = behind.cores.first_mut() {
            core.lag = Some(1);
        }
        assert!(!behind.is_settled(1));
        assert_eq!(behind.find("core-0").map(|core| core.users), Some(4));
    }
}

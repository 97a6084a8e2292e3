//! `homecore check-config`: every problem at once.

use clap::Args;
use serde_json::json;

use super::{ConfigArgs, Told, answer, say};
use crate::config::LoadError;

/// `homecore check-config`.
#[derive(Debug, Args)]
pub(super) struct CheckConfigArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Answer in JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Reads the configuration as `serve` would.
pub(super) fn run(args: &CheckConfigArgs) -> anyhow::Result<()> {
    let Some(path) = args.config.path() else {
        return Err(LoadError::Missing.into());
    };
    let shown = path.display();
    match args.config.load() {
        Ok(config) if args.json => answer(
            &json!({"ok": true, "file": shown.to_string(), "core": config.core.id.as_str()})
                .to_string(),
        ),
        Ok(config) => answer(&format!(
            "{shown} is in order: {} at {}",
            config.core.id, config.core.url
        )),
        Err(LoadError::Problems(problems)) => {
            if args.json {
                answer(
                    &json!({"ok": false, "file": shown.to_string(), "problems": problems})
                        .to_string(),
                )?;
            } else {
                for problem in &problems {
                    say(&problem.to_string());
                }
            }
            let plural = if problems.len() == 1 { "" } else { "s" };
            Err(Told(format!("{shown} has {} problem{plural}", problems.len())).into())
        }
        Err(other) => Err(other.into()),
    }
}

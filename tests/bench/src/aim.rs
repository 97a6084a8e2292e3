//! Figures that have a target, and how far they are from it.

use crate::table::Table;

/// Which side of the target is good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// So many times the peer, or more.
    AtLeast(f64),
    /// So many times the peer, or less.
    AtMost(f64),
}

/// One figure beside its peer.
#[derive(Clone, Debug)]
pub(crate) struct Aim {
    /// What was measured.
    pub(crate) what: String,
    /// As measured, with its unit.
    pub(crate) ours: String,
    /// What stands beside it, with its unit.
    pub(crate) beside: String,
    /// Ours by theirs.
    pub(crate) ratio: f64,
    /// What the ratio is to be.
    pub(crate) target: Target,
}

impl Aim {
    /// How good it is: 1 is just what was aimed at, more is better.
    pub(crate) fn reached(&self) -> f64 {
        match self.target {
            Target::AtLeast(target) => self.ratio / target.max(f64::EPSILON),
            Target::AtMost(target) => target / self.ratio.max(f64::EPSILON),
        }
    }

    /// Whether it is what was aimed at.
    pub(crate) fn is_met(&self) -> bool {
        self.reached() >= 1.0
    }

    fn target(&self) -> String {
        match self.target {
            Target::AtLeast(target) => format!("≥ {target}×"),
            Target::AtMost(target) => format!("≤ {target}×"),
        }
    }
}

/// All targets of some tables as a Markdown table.
pub(crate) fn markdown(tables: &[Table]) -> String {
    let mut text =
        "| what | homecore | beside | ratio | target | met |\n|---|---:|---:|---:|---:|---|\n"
            .to_owned();
    for aim in tables.iter().flat_map(Table::aims) {
        let met = if aim.is_met() { "yes" } else { "**no**" };
        let (what, ours, beside, ratio) = (&aim.what, &aim.ours, &aim.beside, aim.ratio);
        let target = aim.target();
        text += &format!("| {what} | {ours} | {beside} | {ratio:.2}× | {target} | {met} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aim(ratio: f64, target: Target) -> Aim {
        Aim {
            what: "writes".to_owned(),
            ours: "10/s".to_owned(),
            beside: "disk 5/s".to_owned(),
            ratio,
            target,
        }
    }

    #[test]
    fn both_sides_are_told_apart() {
        assert!(aim(0.8, Target::AtLeast(0.8)).is_met());
        assert!(!aim(0.79, Target::AtLeast(0.8)).is_met());
        assert!(aim(0.7, Target::AtMost(0.7)).is_met());
        assert!(!aim(0.71, Target::AtMost(0.7)).is_met());
        assert!(aim(2.0, Target::AtLeast(0.5)).reached() > 3.9);
    }

    #[test]
    fn what_is_missed_is_said() {
        let mut table = Table::new("t", &["a"]);
        table.aim(aim(0.5, Target::AtLeast(1.0)));
        let text = markdown(&[table]);
        let expected = "| writes | 10/s | disk 5/s | 0.50× | ≥ 1× | **no** |\n";
        assert!(text.ends_with(expected), "{text}");
    }
}

use serde::{Deserialize, Serialize};

/// The most entries that one page of a list has.
pub const PER_PAGE_MAX: u32 = 1000;

/// Which part of a list to answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// What the page before this one said in `next`; absent: the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most this many, 1 to [`PER_PAGE_MAX`]; absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

use crate::section::section;

section! {
    /// What is kept in memory to answer without the database.
    pub struct Cache = "cache";

    /// The budget of all caches together, in MiB; at least 16. The process takes some more: what
    /// requests need while they are answered, and the database's own pages.
    memory_mib: u32 = default("256");
}

use crate::section::section;

section! {
    /// What is kept in memory to answer without the database.
    pub struct Cache = "cache";

    /// The budget of all caches together, in MiB; at least 16.
    memory_mib: u32 = default("256") reserved;
}

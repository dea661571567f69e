use crate::section::section;

section! {
    /// What one password hash costs (argon2id). More is safer and slower to log in; hashes made before
    /// a change stay valid.
    pub struct Password = "password";

    /// Memory of one hash, in KiB; at least 8.
    argon2_memory_kib: u32 = default("19456");

    /// Passes over that memory; at least 1.
    argon2_passes: u32 = default("2");
}

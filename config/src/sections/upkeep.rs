use crate::section::section;

section! {
    /// How long is kept what waits or is only of use for a while; 0 keeps it for ever. It is looked
    /// through every ten minutes.
    pub struct Upkeep = "upkeep";

    /// Days that encrypted messages wait for a device that does not fetch them, or for a server that
    /// cannot be reached. What is lost then, its owner cannot read.
    to_device_days: u32 = default("365");

    /// Days within which a client may repeat a request and get the same answer.
    transaction_ids_days: u32 = default("7");

    /// Days after which a client that comes back may be sent whole rooms anew, not what changed.
    state_changes_days: u32 = default("90");

    /// Minutes for which everything waits for a server that cannot be reached; after that, only the
    /// newest event of each room does, from which the server finds the others by itself.
    catch_up_after_minutes: u32 = default("60");
}

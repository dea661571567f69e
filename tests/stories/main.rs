//! Whole servers as their people see them: real processes, real sockets, TLS, both databases.

#[cfg(test)]
mod administration;
#[cfg(test)]
mod canaries;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod federation;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod launch;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod visitors;
#[cfg(test)]
mod whole_table;

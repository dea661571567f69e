use crate::{AppserviceRegistration, section::section};

section! {
    /// Bridges and bots with a registration.
    pub struct Appservice = "appservice";

    /// Registration files (YAML), one per application service. Each may act for the people in its namespaces,
    /// and make their accounts; events are not sent to its `url` yet.
    registrations: Vec<AppserviceRegistration> = default("[]");
}

use super::{Around, HistoryVisibility, may_see};
use crate::event::Membership;
use HistoryVisibility::{Invited, Joined, Shared, WorldReadable};
use Membership::{Ban, Invite, Join, Knock, Leave};

/// spec: client-server v1.19 §Room History Visibility, the five rules, for every combination.
#[test]
fn visibility_by_membership() {
    let may = |visibility, membership, joined_later| {
        may_see(
            Around::unchanged(visibility),
            Around::unchanged(membership),
            joined_later,
        )
    };
    for membership in [Ban, Invite, Join, Knock, Leave] {
        for joined_later in [false, true] {
            let joined = membership == Join;
            let invited = membership == Invite;
            assert!(may(WorldReadable, membership, joined_later));
            assert_eq!(
                may(Shared, membership, joined_later),
                joined || joined_later
            );
            assert_eq!(may(Invited, membership, joined_later), joined || invited);
            assert_eq!(may(Joined, membership, joined_later), joined);
        }
    }
}

#[test]
fn a_change_of_visibility_is_seen_by_those_before_and_after_it() {
    for (before, after) in [(WorldReadable, Joined), (Joined, WorldReadable)] {
        assert!(may_see(
            Around { before, after },
            Around::unchanged(Leave),
            false
        ));
    }
}

#[test]
fn ones_own_membership_event_is_seen_by_the_one_before_and_after_it() {
    for (before, after) in [(Leave, Join), (Join, Leave), (Join, Ban)] {
        assert!(may_see(
            Around::unchanged(Joined),
            Around { before, after },
            false
        ));
    }
    assert!(may_see(
        Around::unchanged(Invited),
        Around {
            before: Leave,
            after: Invite
        },
        false
    ));
    assert!(!may_see(
        Around::unchanged(Joined),
        Around {
            before: Leave,
            after: Invite
        },
        false
    ));
}

#[test]
fn what_is_not_understood_is_shared() {
    for (name, visibility) in [
        ("world_readable", WorldReadable),
        ("shared", Shared),
        ("invited", Invited),
        ("joined", Joined),
        ("org.example.mystery", Shared),
    ] {
        assert_eq!(HistoryVisibility::from_name(name), visibility);
    }
    assert_eq!(HistoryVisibility::default(), Shared);
}

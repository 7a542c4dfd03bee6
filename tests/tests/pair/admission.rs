//! Turning a remote away: in place of Hello, or after it.
use devp2p_core::capability::Protocol;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::session::Event;
use devp2p_tests::fixture::protocol;
use devp2p_tests::for_each_kind;
use devp2p_tests::kind::Kind;
use devp2p_tests::link::Faults;
use devp2p_tests::node::{Admission, Node, Spec};
use devp2p_tests::pair::Pair;
use devp2p_tests::rogue::{Manners, Remote, Rogue};

for_each_kind! {
    over RLPx:
    a_remote_rejected_when_its_identity_is_proved_gets_a_plain_disconnect_in_place_of_hello,
    a_remote_rejected_after_hello_gets_a_disconnect_in_the_form_of_the_session,
    two_nodes_see_the_two_sides_of_a_rejection,
    two_nodes_that_reject_each_other_part_in_peace,
}

const REASONS: [DisconnectReason; 3] = [
    DisconnectReason::TOO_MANY_PEERS,
    DisconnectReason::ALREADY_CONNECTED,
    DisconnectReason::SELF,
];

fn protocols() -> Vec<Protocol> {
    vec![protocol("chat", 4, 4096)]
}

fn spec(admission: Admission, version: u8) -> Spec {
    let mut spec = Spec::new(2, &protocols());
    spec.admission = admission;
    spec.version = version;
    spec
}

fn rogues<K: Kind>(spec: &Spec) -> [Pair<Rogue, Node<K::Machine>>; 2] {
    let faults = || [Faults::none(), Faults::none()];
    let dialling = Rogue::dial(1, spec.id(), Manners::Polite);
    let dialled = Rogue::accept(1, Manners::Polite);
    let id = dialled.id();
    [
        Pair::new(dialling, Node::accept(spec), faults(), 0),
        Pair::new(dialled, Node::dial(spec, id), faults(), 0),
    ]
}

fn a_remote_rejected_when_its_identity_is_proved_gets_a_plain_disconnect_in_place_of_hello<
    K: Kind,
>() {
    for reason in REASONS {
        for mut pair in rogues::<K>(&spec(Admission::Reject(reason), 5)) {
            pair.settle();
            assert_eq!(
                pair.b.events[0].1,
                Event::Authenticated(pair.a.id()),
                "the identity is proved first"
            );
            assert_eq!(pair.a.messages(), [(1, &[0xc1, reason.0][..])]);
            pair.run_out();
            assert_eq!(pair.b.close_reason(), Some(CloseReason::Rejected(reason)));
        }
    }
}

fn a_remote_rejected_after_hello_gets_a_disconnect_in_the_form_of_the_session<K: Kind>() {
    for reason in REASONS {
        for (version, form) in [(5, &[2, 4, 0xc1, reason.0][..]), (4, &[0xc1, reason.0])] {
            for mut pair in rogues::<K>(&spec(Admission::RejectAfterHello(reason), version)) {
                pair.a.say_hello(5, &protocols());
                pair.run_out();
                let messages = pair.a.messages();
                assert_eq!(messages.len(), 2);
                assert_eq!(messages[0].0, 0, "Hello");
                assert_eq!(messages[1], (1, form));
                assert_eq!(pair.b.close_reason(), Some(CloseReason::Rejected(reason)));
            }
        }
    }
}

fn two_nodes_see_the_two_sides_of_a_rejection<K: Kind>() {
    let reason = DisconnectReason::TOO_MANY_PEERS;
    let rejecting = spec(Admission::Reject(reason), 5);
    let admitting = Spec::new(1, &protocols());
    let mut pairs = [
        K::dial(&admitting, &rejecting),
        K::dial(&rejecting, &admitting),
    ];
    for pair in &mut pairs {
        pair.close();
        let causes = [pair.a.close_reason(), pair.b.close_reason()];
        assert!(causes.contains(&Some(CloseReason::Rejected(reason))));
        assert!(causes.contains(&Some(CloseReason::RemoteRequested(Some(reason)))));
        assert!(pair.a.active().is_none() && pair.b.active().is_none());
    }
}

fn two_nodes_that_reject_each_other_part_in_peace<K: Kind>() {
    let specs = [1, 2].map(|seed| {
        let mut spec = Spec::new(seed, &protocols());
        spec.admission = Admission::Reject(DisconnectReason::TOO_MANY_PEERS);
        spec
    });
    let mut pair = K::dial(&specs[0], &specs[1]);
    pair.close();
    for node in [&pair.a, &pair.b] {
        let reason = node.close_reason().expect("closed");
        assert!(
            matches!(
                reason,
                CloseReason::Rejected(_) | CloseReason::RemoteRequested(_)
            ),
            "{reason:?}"
        );
    }
}

use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn frame(header: Header, payload: &[u8]) -> Vec<u8> {
    let (bytes, mut crc) = header.encode();
    crc.update(payload);
    [&bytes[..], payload, &crc.value()].concat()
}

fn message(code: u16, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16;
    frame(Header::Message { code, length }, payload)
}

/// The frames that are whole, and how often damage was reported.
fn receive(receiver: &mut Receiver, pieces: &[&[u8]]) -> (Vec<(Header, Vec<u8>)>, usize) {
    let (mut frames, mut damages, mut current) = (Vec::new(), 0, None);
    for mut bytes in pieces.iter().copied() {
        while !bytes.is_empty() {
            let (n, event) = receiver.handle(bytes);
            assert!(n > 0 && n <= bytes.len(), "no progress");
            match event {
                Some(Event::Header(header)) => current = Some((header, Vec::new())),
                Some(Event::Payload(piece)) => current.as_mut().unwrap().1.extend_from_slice(piece),
                Some(Event::End) => frames.push(current.take().unwrap()),
                Some(Event::Damaged) => {
                    damages += 1;
                    current = None;
                }
                None => assert_eq!(n, bytes.len()),
            }
            bytes = &bytes[n..];
        }
    }
    (frames, damages)
}

#[test]
fn crc_is_that_of_ethernet() {
    let mut crc = Crc::new();
    crc.update(b"1234");
    crc.update(b"56789");
    assert_eq!(crc.value(), 0xCBF4_3926_u32.to_le_bytes());
}

#[test]
fn every_kind_of_header_is_read_as_it_was_written() {
    let begin = Header::Begin {
        sender: 3,
        receiver: 0xa55a,
    };
    let message = Header::Message {
        code: 0x1234,
        length: u16::MAX,
    };
    for header in [begin, message, Header::End] {
        let (mut bytes, crc) = header.encode();
        assert_eq!(Header::decode(&bytes), Some((header, crc)));
        for bit in 0..8 * HEADER_LENGTH {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes), None, "bit {bit} damaged");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

fn frames() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    // Bytes of the sync mark are likely, so that payloads look like headers.
    let byte = prop_oneof![any::<u8>(), Just(0xa5), Just(0x5a), Just(2), Just(0)];
    prop::collection::vec((any::<u16>(), prop::collection::vec(byte, 0..40)), 1..6)
}

fn code(header: Header) -> u16 {
    match header {
        Header::Message { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

fn cut(bytes: &[u8], at: &[usize]) -> Vec<Vec<u8>> {
    let mut at: Vec<_> = at.iter().map(|at| at % (bytes.len() + 1)).collect();
    at.sort_unstable();
    let ends = at.iter().copied().chain([bytes.len()]);
    let mut from = 0;
    ends.map(|end| bytes[std::mem::replace(&mut from, end)..end].to_vec())
        .collect()
}

proptest! {
    #[test]
    fn frames_arrive_however_the_stream_is_cut(sent in frames(), cuts in prop::collection::vec(any::<usize>(), 0..20)) {
        let bytes: Vec<u8> = sent.iter().flat_map(|(code, payload)| message(*code, payload)).collect();
        let pieces = cut(&bytes, &cuts);
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let (frames, damages) = receive(&mut Receiver::new(), &pieces);
        prop_assert_eq!(damages, 0);
        let got: Vec<_> = frames.into_iter().map(|(header, payload)| (code(header), payload)).collect();
        prop_assert_eq!(got, sent);
    }

    #[test]
    fn garbage_between_frames_costs_none_of_them(sent in frames(), noise in prop::collection::vec(0_u8..0xa5, 1..30)) {
        let mut bytes = noise.clone();
        for (code, payload) in &sent {
            bytes.extend(message(*code, payload));
            bytes.extend(&noise);
        }
        let (frames, damages) = receive(&mut Receiver::new(), &[&bytes]);
        prop_assert_eq!(frames.len(), sent.len());
        // What stands before the first frame is not damage.
        prop_assert_eq!(damages, sent.len());
    }

    #[test]
    fn a_damaged_byte_of_a_payload_costs_its_own_frame(
        before in frames(), lost in prop::collection::vec(any::<u8>(), 1..40), after in frames(), at: usize, bit in 0..8_u8
    ) {
        let mut bytes: Vec<u8> = before.iter().flat_map(|(code, payload)| message(*code, payload)).collect();
        let mut damaged = message(7, &lost);
        damaged[HEADER_LENGTH + at % (lost.len() + TRAILER_LENGTH)] ^= 1_u8 << bit;
        bytes.extend(damaged);
        bytes.extend(after.iter().flat_map(|(code, payload)| message(*code, payload)));
        let (frames, damages) = receive(&mut Receiver::new(), &[&bytes]);
        prop_assert_eq!(damages, 1);
        prop_assert_eq!(frames.len(), before.len() + after.len());
    }

    #[test]
    fn after_any_noise_the_line_finds_into_step(noise in prop::collection::vec(any::<u8>(), 0..200), sent in frames()) {
        let mut receiver = Receiver::new();
        receive(&mut receiver, &[&noise]);
        // Noise can look like a header only by a chance of one in 65 536 for each sync mark; what it states is then swallowed.
        let filler = std::vec![0; MAX_PAYLOAD + TRAILER_LENGTH];
        let bytes: Vec<u8> = sent.iter().flat_map(|(code, payload)| message(*code, payload)).collect();
        let (frames, _) = receive(&mut receiver, &[&filler, &bytes]);
        prop_assert_eq!(frames.len(), sent.len());
    }

    #[test]
    fn a_lost_byte_costs_only_what_the_header_stated(sent in frames(), at: usize, after in frames()) {
        let mut bytes: Vec<u8> = sent.iter().flat_map(|(code, payload)| message(*code, payload)).collect();
        bytes.remove(at % bytes.len());
        // What follows is further away than any length stated.
        bytes.extend([0; 64]);
        bytes.extend(after.iter().flat_map(|(code, payload)| message(*code, payload)));
        let (frames, _) = receive(&mut Receiver::new(), &[&bytes]);
        let got: Vec<_> = frames.into_iter().map(|(header, payload)| (code(header), payload)).collect();
        prop_assert!(got.ends_with(&after));
    }
}

/// Two ends and what is on the way between them: `Begin`, and Hello, which an end says once it has begun.
#[derive(Default)]
struct Line {
    ends: [Opening; 2],
    heard: [bool; 2],
    to: [std::collections::VecDeque<Option<(u16, u16)>>; 2],
}

impl Line {
    fn say(&mut self, end: usize) {
        let Header::Begin { sender, receiver } = self.ends[end].begin() else {
            panic!("not a Begin");
        };
        self.to[1 - end].push_back(Some((sender, receiver)));
    }

    fn arrive(&mut self, end: usize) {
        let (sender, receiver) = match self.to[end].pop_front() {
            Some(Some(begin)) => begin,
            Some(None) => return self.heard[end] |= self.ends[end].is_begun(),
            None => return,
        };
        match self.ends[end].handle(sender, receiver, !self.heard[end]) {
            Begun::No { say: true } => self.say(end),
            Begun::No { say: false } => {}
            Begun::Now { say } => {
                if say {
                    self.say(end);
                }
                self.to[1 - end].push_back(None);
            }
            Begun::Anew => self.restart(end, sender),
        }
    }

    fn restart(&mut self, end: usize, theirs: u16) {
        self.heard[end] = false;
        self.ends[end].restart(theirs);
        self.say(end);
    }
}

proptest! {
    /// Either end restarts or loses a frame at any time; then, with the unfinished ones repeating themselves, both have begun
    /// the same session after a few rounds.
    #[test]
    fn two_ends_agree_on_a_session(steps in prop::collection::vec((0..4, 0..2_usize), 0..60)) {
        let mut line = Line::default();
        for (step, end) in steps {
            match step {
                0 => line.restart(end, 0),
                1 => { line.to[end].pop_front(); }
                2 => { line.ends[end] = Opening::new(); line.restart(end, 0); }
                _ => line.arrive(end),
            }
        }
        for _ in 0..4 {
            for end in [0, 1] {
                if !line.ends[end].is_begun() { line.say(end); }
            }
            let mut steps = 0;
            while line.to.iter().any(|to| !to.is_empty()) {
                line.arrive(0);
                line.arrive(1);
                steps += 1;
                prop_assert!(steps < 1000, "the two answer each other for ever");
            }
        }
        prop_assert!(line.ends[0].agrees_with(&line.ends[1]), "{:?}", line.ends);
    }
}

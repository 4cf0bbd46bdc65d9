//! SDP as WebRTC uses it: the shape of RFC 8866, and what RFC 8829 §5 has in every description that leads to a
//! connection: media sections, ICE credentials, a certificate's fingerprint and who begins DTLS.

use super::is_ice_char;

/// Which end of the negotiation it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Offer,
    Answer,
}

/// Most media sections; 16 audio and video tracks need 32.
const MAX_SECTIONS: usize = 128;
/// The letters of lines (RFC 8866 §5).
const LETTERS: &[u8] = b"vosiuepcbtrzkam";
/// Digests of a fingerprint that are good enough (RFC 8122 §5), and how many bytes they have.
const HASHES: [(&str, usize); 3] = [("sha-256", 32), ("sha-384", 48), ("sha-512", 64)];

/// Adds every rule that an SDP breaks; gives its fingerprint.
pub(super) fn check(sdp: &str, side: Side, max_bytes: usize, found: &mut Vec<String>) -> Option<String> {
    if sdp.len() > max_bytes {
        found.push(format!("sdp: {} bytes, at most {max_bytes} are allowed", sdp.len()));
        return None;
    }
    let before = found.len();
    check_shape(sdp, found);
    if found.len() > before {
        // What is no SDP has no parts to speak of.
        return None;
    }
    let parts = Parts::read(sdp);
    check_sections(&parts, found);
    check_ice(&parts, found);
    check_setup(&parts, side, found);
    fingerprint(&parts, found)
}

fn check_shape(sdp: &str, found: &mut Vec<String>) {
    if let Some(at) = sdp.bytes().position(|byte| byte.is_ascii_control() && !b"\r\n\t".contains(&byte)) {
        found.push(format!("sdp: byte {at} is a control character; an SDP is text (RFC 8866 §5)"));
    }
    let mut lines = sdp.lines();
    if lines.next() != Some("v=0") {
        found.push("sdp: the first line must be `v=0` (RFC 8866 §5.1)".into());
    }
    for required in ["o=", "s=", "t="] {
        if !sdp.lines().any(|line| line.starts_with(required)) {
            found.push(format!("sdp: a `{required}` line is missing (RFC 8866 §5)"));
        }
    }
    let shaped = |line: &str| matches!(line.as_bytes(), [letter, b'=', ..] if LETTERS.contains(letter));
    if let Some((number, _)) = lines.enumerate().find(|(_, line)| !line.is_empty() && !shaped(line)) {
        let letters = "v o s i u e p c b t r z k a m";
        found.push(format!(
            "sdp: line {} is not `<letter>=<value>` with a letter of {letters} (RFC 8866 §5)",
            number + 2
        ));
    }
    if sdp.lines().find(|line| line.starts_with("o=")).is_some_and(|line| line.split(' ').count() != 6) {
        found.push(
            "sdp: the `o=` line has six fields: name, id, version, IN, IP4 or IP6, address (RFC 8866 §5.2)".into(),
        );
    }
}

/// The session part of an SDP and its media sections.
struct Parts<'a> {
    session: Vec<&'a str>,
    /// The `m=` value and the lines after it.
    sections: Vec<(&'a str, Vec<&'a str>)>,
}

impl<'a> Parts<'a> {
    fn read(sdp: &'a str) -> Self {
        let mut parts = Self { session: Vec::new(), sections: Vec::new() };
        for line in sdp.lines() {
            match (line.strip_prefix("m="), parts.sections.last_mut()) {
                (Some(media), _) => parts.sections.push((media, Vec::new())),
                (None, Some((_, lines))) => lines.push(line),
                (None, None) => parts.session.push(line),
            }
        }
        parts
    }

    /// Every value of an attribute, of the session and of all sections.
    fn all(&self, name: &str) -> Vec<&'a str> {
        let lines = self.session.iter().chain(self.sections.iter().flat_map(|(_, lines)| lines));
        lines.filter_map(|line| attribute(line, name)).collect()
    }

    /// The sections that are in use (port 0 rejects one, RFC 8829 §5.3.1) and that neither have an attribute themselves
    /// nor from the session. A bundled one takes it from the section that it is bundled with (RFC 9143).
    fn lacks(&self, name: &str) -> bool {
        if self.session.iter().any(|line| attribute(line, name).is_some()) {
            return false;
        }
        let used = self.sections.iter().filter(|(media, _)| media.split(' ').nth(1) != Some("0"));
        let with = used.clone().filter(|(_, lines)| lines.iter().any(|line| attribute(line, name).is_some())).count();
        with == 0 && used.count() > 0
    }
}

fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':')
}

fn check_sections(parts: &Parts<'_>, found: &mut Vec<String>) {
    if parts.sections.is_empty() {
        found.push("sdp: it has no `m=` line; add a track or a data channel before it is made (RFC 8866 §5.14)".into());
    }
    if parts.sections.len() > MAX_SECTIONS {
        let number = parts.sections.len();
        found.push(format!("sdp: {number} media sections; at most {MAX_SECTIONS} are allowed"));
    }
    let shaped = |media: &str| {
        let fields: Vec<&str> = media.split(' ').collect();
        let port = fields.get(1).and_then(|port| port.split('/').next()).unwrap_or_default();
        fields.len() >= 4 && fields.iter().all(|field| !field.is_empty()) && port.parse::<u16>().is_ok()
    };
    if let Some(number) = parts.sections.iter().position(|(media, _)| !shaped(media)) {
        let number = number + 1;
        found.push(format!("sdp: `m=` line {number} is not `<media> <port> <protocol> <formats>` (RFC 8866 §5.14)"));
    }
}

fn check_ice(parts: &Parts<'_>, found: &mut Vec<String>) {
    for (name, least) in [("ice-ufrag", 4), ("ice-pwd", 22)] {
        if parts.lacks(name) {
            found.push(format!("sdp: `a={name}` is missing (RFC 8839 §5.4)"));
        }
        let good = |text: &&str| (least..=256).contains(&text.len()) && text.bytes().all(is_ice_char);
        if !parts.all(name).iter().all(good) {
            found.push(format!("sdp: `a={name}` has {least} to 256 characters of A-Z a-z 0-9 + / (RFC 8839 §5.4)"));
        }
    }
}

fn check_setup(parts: &Parts<'_>, side: Side, found: &mut Vec<String>) {
    if parts.lacks("setup") {
        found.push("sdp: `a=setup` is missing: who begins DTLS (RFC 8842 §5)".into());
    }
    let allowed: &[&str] = match side {
        Side::Offer => &["actpass", "active", "passive"],
        Side::Answer => &["active", "passive"],
    };
    if !parts.all("setup").iter().all(|value| allowed.contains(value)) {
        let (side, allowed) = (if side == Side::Offer { "an offer" } else { "an answer" }, allowed.join(" or "));
        found.push(format!("sdp: in {side} `a=setup` is {allowed} (RFC 8842 §5)"));
    }
}

fn fingerprint(parts: &Parts<'_>, found: &mut Vec<String>) -> Option<String> {
    if parts.lacks("fingerprint") {
        found.push("sdp: `a=fingerprint` is missing; without a certificate nobody can connect (RFC 8122 §5)".into());
        return None;
    }
    let mut shown: Vec<String> = Vec::new();
    for text in parts.all("fingerprint") {
        match read_fingerprint(text) {
            Some(fingerprint) if shown.contains(&fingerprint) => {}
            Some(fingerprint) => shown.push(fingerprint),
            None => {
                let rule =
                    "sdp: `a=fingerprint` is sha-256, sha-384 or sha-512 and its bytes as `AB:CD:…` (RFC 8122 §5)";
                found.push(rule.into());
                return None;
            }
        }
    }
    // One certificate may be shown under several digests; two under one digest are two certificates.
    let several = |(hash, _): &(&str, usize)| shown.iter().filter(|text| text.starts_with(hash)).count() > 1;
    if HASHES.iter().any(several) {
        found.push("sdp: it shows several certificates; use one for all media sections (RFC 8829 §4.1.1)".into());
    }
    shown.into_iter().min()
}

/// `sha-256 AA:BB:…` with the digest's name in lower and its digits in upper case.
fn read_fingerprint(text: &str) -> Option<String> {
    let (hash, digest) = text.trim_end().split_once(' ')?;
    let hash = hash.to_ascii_lowercase();
    let (_, bytes) = HASHES.iter().find(|(name, _)| *name == hash)?;
    let byte = |byte: &str| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
    let good = digest.split(':').count() == *bytes && digest.split(':').all(byte);
    good.then(|| format!("{hash} {}", digest.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use contracts::signals::signaling::SAMPLE_SDP;

    use super::*;

    fn broken(sdp: &str) -> Vec<String> {
        let mut found = Vec::new();
        check(sdp, Side::Offer, 4_096, &mut found);
        found
    }

    fn changed(from: &str, to: &str) -> String {
        assert!(SAMPLE_SDP.contains(from), "{from}");
        SAMPLE_SDP.replace(from, to)
    }

    #[test]
    fn a_description_of_a_browser_passes() {
        let mut found = Vec::new();
        let shown = check(SAMPLE_SDP, Side::Offer, 4_096, &mut found);
        assert_eq!(found, Vec::<String>::new());
        assert!(shown.unwrap().starts_with("sha-256 00:01:"));
        assert!(broken(&changed("active", "actpass")).is_empty());
        assert!(broken(&SAMPLE_SDP.replace("\r\n", "\n")).is_empty());
        // Bundled sections, of which one is rejected.
        let more =
            format!("{SAMPLE_SDP}m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:1\r\nm=video 0 UDP/TLS/RTP/SAVPF 0\r\n");
        assert!(broken(&more).is_empty(), "{:?}", broken(&more));
    }

    #[test]
    fn what_is_no_sdp_lacks_its_session_lines() {
        assert_eq!(broken("").len(), 4);
        assert_eq!(broken("v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\nnot sdp").len(), 1);
        assert_eq!(broken(&"v".repeat(5_000)), ["sdp: 5000 bytes, at most 4096 are allowed"]);
    }

    #[test]
    fn each_rule_is_told_by_itself() {
        let print = "sha-256 00:01";
        for (bad, word) in [
            (changed("s=-", "s=\u{1}"), "control character"),
            (changed("o=- 1 1 IN IP4 127.0.0.1", "o=-"), "six fields"),
            (changed("c=IN", "q=IN"), "line 6 is not"),
            (changed("m=application 9", "m=application 99999"), "`m=` line 1"),
            (changed("8hhY", "8hh"), "4 to 256"),
            (changed("a=ice-ufrag:8hhY\r\n", ""), "`a=ice-ufrag` is missing"),
            (changed("asd88fgpdd777uzjYhagZgab", "short"), "22 to 256"),
            (changed("a=setup:active\r\n", ""), "`a=setup` is missing"),
            (changed("setup:active", "setup:later"), "in an offer"),
            (changed("a=fingerprint:sha-256", "a=print:sha-256"), "`a=fingerprint` is missing"),
            (changed(print, "sha-1 00:01"), "sha-256, sha-384"),
            (changed(print, "sha-256 0:01"), "sha-256, sha-384"),
            (changed(print, "sha-256 01"), "sha-256, sha-384"),
            (
                format!(
                    "{SAMPLE_SDP}a=fingerprint:sha-256{}\r\n",
                    " 00".replace(' ', ":").repeat(32).replacen(':', " ", 1)
                ),
                "several certificates",
            ),
            (format!("{SAMPLE_SDP}{}", "m=audio 9 RTP 0\r\n".repeat(128)), "at most 128"),
            ("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".into(), "no `m=` line"),
        ] {
            let found = broken(&bad);
            assert_eq!(found.len(), 1, "{bad}: {found:?}");
            assert!(found[0].contains(word), "{word}: {found:?}");
        }
        let mut found = Vec::new();
        check(&changed("active", "actpass"), Side::Answer, 4_096, &mut found);
        assert!(found.len() == 1 && found[0].contains("in an answer"), "{found:?}");
    }

    #[test]
    fn letters_of_a_fingerprint_may_have_either_case() {
        let mut found = Vec::new();
        let upper = check(SAMPLE_SDP, Side::Offer, 4_096, &mut found);
        let lower = check(
            &changed("sha-256 00:01:02:03:04:05:06:07:08:09:0A", "SHA-256 00:01:02:03:04:05:06:07:08:09:0a"),
            Side::Offer,
            4_096,
            &mut found,
        );
        assert_eq!((upper.is_some(), upper), (true, lower));
    }
}

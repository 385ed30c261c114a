use super::super::client::verdict;
use super::super::scheduler::Verdict;
use super::*;
use proptest::prelude::*;

#[derive(Debug, serde::Deserialize)]
struct Anything {}

fn head(status: u16) -> Head {
    Head {
        status,
        retry_after: None,
    }
}

fn ko(status: u16, message: &str) -> ApiError {
    let body = serde_json::json!({ "status": "KO", "message": message }).to_string();
    json::<Anything>("t", head(status), body.as_bytes()).unwrap_err()
}

fn body(status: u16, text: &str) -> ApiError {
    json::<Anything>("t", head(status), text.as_bytes()).unwrap_err()
}

#[test]
fn every_message_of_the_catalogue_is_known_under_every_status() {
    use ErrorKind as K;
    let rows = [
        ("Flood detected: IP Locked #374", K::Flood),
        ("Flood detected: IP Locked #38", K::Flood),
        ("Flood detected: User Locked #223", K::Flood),
        ("Flood detected: User APK Locked", K::Flood),
        ("IP Locked #186", K::IpBanned),
        ("Not authenticated #101", K::KeyRefused),
        ("No such user #93", K::KeyRefused),
        ("Bad token", K::KeyRefused),
        ("Must be a customer (Premium, Access) #200", K::NotCustomer),
        ("Must be a customer (Premium, Access) #236", K::NotCustomer),
        ("Owner locked #620", K::OwnerLocked),
        ("Resource not found #469", K::NotFound),
        ("Resource not allowed #631", K::NotAllowed),
        (
            "Password not provided. Resource not allowed #7",
            K::Password,
        ),
        ("Invalid password. Resource not allowed #8", K::Password),
        (
            "Only 2 location(s) allowed at a time #887",
            K::TooManyLocations,
        ),
        (
            "You use professional equipment, must have CDN credits",
            K::NetworkRefused,
        ),
        (
            "Premium status is only allowed to be used on residential private and dedicated \
             internet connexion - 192.0.2.1 - x #913",
            K::NetworkRefused,
        ),
        ("No file has been renamed #312", K::NothingRenamed),
        ("No changes requested #4", K::NothingChanged),
        ("Content-Type not JSON #24", K::BadRequest),
        ("Something new #1", K::Refused),
    ];
    for (message, kind) in rows {
        for status in [200, 400, 403] {
            for said in [message.to_owned(), message.to_uppercase()] {
                assert_eq!(ko(status, &said).kind, kind, "{status} {said}");
            }
        }
        assert!(message.contains(&*ko(200, message).detail), "{message}");
    }
}

#[test]
fn a_status_decides_when_the_text_says_nothing() {
    use ErrorKind as K;
    let rows = [
        (401, K::KeyRefused),
        (404, K::NotFound),
        (410, K::NotFound),
        (429, K::Flood),
        (500, K::Server),
        (502, K::Server),
        (503, K::Server),
        (504, K::Server),
        (509, K::Server),
    ];
    for (status, kind) in rows {
        assert_eq!(ko(status, "Something new #1").kind, kind, "{status} JSON");
        let page = "<html><body>nginx</body></html>";
        assert_eq!(body(status, page).kind, kind, "{status} HTML");
        assert_eq!(body(status, "").kind, kind, "{status} empty");
    }
    // A bare 403 is a gate before the API: silence cannot make it worse.
    assert_eq!(body(403, "<html>Forbidden</html>").kind, K::Flood);
    assert_eq!(ko(403, "Something new").kind, K::Refused);
    // 2xx with KO is a failure; a redirect, a page and junk with 2xx are no answers.
    assert_eq!(body(302, "").kind, K::Malformed);
    for junk in [
        "",
        "<html>hello</html>",
        "[]",
        "\"OK\"",
        "{\"status\":\"OK\"",
        "OK",
        "{]",
    ] {
        assert_eq!(body(200, junk).kind, K::Malformed, "{junk}");
    }
}

#[test]
fn pages_and_plain_texts_are_understood() {
    use ErrorKind as K;
    for status in [200, 403, 503] {
        assert_eq!(body(status, "IP Locked").kind, K::IpBanned);
        assert_eq!(body(status, " \nip locked\n").kind, K::IpBanned);
        let page = "<html><title>x</title><p>Nos services sont en <b>maintenance</b></p></html>";
        let error = body(status, page);
        assert_eq!(error.kind, K::Maintenance);
        assert_eq!(error.retry_after, Some(Duration::from_secs(1200)));
    }
    assert_eq!(body(503, "<html>Unavailable</html>").kind, K::Server);
    assert_eq!(body(200, "Flood detected: IP Locked").kind, K::Flood);
    assert_eq!(body(200, "<html>Can't connect DB</html>").kind, K::Server);
}

#[test]
fn names_in_a_broken_listing_are_not_taken_for_messages() {
    let listing = r#"{"status":"OK","items":[{"filename":"IP Locked maintenance.txt","#;
    assert_eq!(body(200, listing).kind, ErrorKind::Malformed);
    // Nor does half an answer say that something is gone.
    assert_eq!(body(404, listing).kind, ErrorKind::Malformed);
    let listing = r#"{"status":"OK","items":[{"filename":"Flood detected"}]}"#;
    assert!(json::<Anything>("t", head(200), listing.as_bytes()).is_ok());
}

#[test]
fn a_success_may_lack_its_status_but_not_its_code() {
    for good in [
        r#"{"status":"OK"}"#,
        r#"{"url":"x"}"#,
        " {}\n",
        r#"{"status":"ok","message":""}"#,
    ] {
        assert!(json::<Anything>("t", head(200), good.as_bytes()).is_ok());
        assert!(json::<Anything>("t", head(500), good.as_bytes()).is_err());
        assert!(json::<Anything>("t", head(302), good.as_bytes()).is_err());
    }
    for bad in [r#"{"status":"ko"}"#, r#"{"status":"KO","message":null}"#] {
        assert!(json::<Anything>("t", head(200), bad.as_bytes()).is_err());
    }
}

#[test]
fn waits_are_said_and_bounded() {
    assert_eq!(retry_after("30"), Some(Duration::from_secs(30)));
    assert_eq!(retry_after("99999999"), Some(LONGEST_RETRY_AFTER));
    for junk in ["", "-1", "soon", "wed, 21 oct 2026 07:28:00 gmt", "1e9"] {
        assert_eq!(retry_after(junk), None, "{junk}");
    }
    let asked = Head {
        retry_after: Some(Duration::from_secs(77)),
        ..head(429)
    };
    let error = json::<Anything>("t", asked, b"{}").unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_secs(77)));
    assert_eq!(ko(403, "IP Locked #186").retry_after, Some(BAN));
    assert_eq!(ko(403, "Owner locked #649").retry_after, Some(FIVE_MINUTES));
}

#[test]
fn the_scheduler_hears_what_concerns_it() {
    let verdict = |error: ApiError| verdict::<()>(&Err(error));
    let flood = ko(403, "Flood detected: IP Locked #412");
    assert_eq!(verdict(flood), Verdict::Flooded { retry_after: None });
    assert_eq!(verdict(ko(403, "IP Locked #186")), Verdict::Banned);
    assert_eq!(verdict(ko(403, "Owner locked")), Verdict::OwnerLocked);
    assert_eq!(verdict(body(503, "maintenance")), Verdict::Maintenance);
    assert_eq!(verdict(ko(404, "Resource not found")), Verdict::Answered);
    assert_eq!(verdict(body(200, "<html>")), Verdict::Answered);
    let lost = ApiError::new(ErrorKind::Network, "t", Reached::Unknown, "");
    assert_eq!(verdict(lost), Verdict::Lost);
    let unsent = ApiError::new(ErrorKind::Network, "t", Reached::NotSent, "");
    assert_eq!(verdict(unsent), Verdict::NotSent);
}

#[test]
fn every_download_symptom_has_its_meaning() {
    use ErrorKind as K;
    let page = |status: u16, location: &str, text: &str| {
        download_page("download", head(status), location, text.as_bytes())
    };
    // Expired, used up, withdrawn, in each of its disguises.
    for status in [200, 301, 302, 401, 403, 404, 410] {
        let text = "<html>Télécharger le fichier</html>";
        let error = page(status, "https://1fichier.com/?abcde", text);
        assert_eq!(error.kind, K::LinkExpired, "{status}");
    }
    assert_eq!(page(404, "", "Resource not found").kind, K::LinkExpired);
    let rows = [
        (
            403,
            "must have CDN credits, VPN detected",
            K::NetworkRefused,
        ),
        (
            403,
            "Premium status is only allowed on professional equipment",
            K::NetworkRefused,
        ),
        (503, "<p>Services en maintenance", K::Maintenance),
        (503, "", K::Server),
        (
            200,
            "Your IP opens too many connections to the server",
            K::TooManyConnections,
        ),
        (403, "Your requests are too fast", K::Flood),
        (429, "", K::Flood),
        (200, "Can't connect DB", K::Server),
        (500, "Software error:", K::Server),
        (
            403,
            "Please use your account only for downloading from one place",
            K::TooManyLocations,
        ),
        (
            403,
            "not simultaneously your IPv4 and IPv6",
            K::TooManyLocations,
        ),
        (416, "", K::WrongBytes),
        (502, "", K::Server),
    ];
    for (status, text, kind) in rows {
        assert_eq!(page(status, "", text).kind, kind, "{status} {text}");
    }
    let outage = page(302, "https://1fichier.com/?c=DB", "");
    assert_eq!(
        (outage.kind, outage.retry_after),
        (K::Server, Some(FIVE_MINUTES))
    );
}

#[test]
fn every_upload_refusal_has_its_meaning() {
    use ErrorKind as K;
    let page = |status: u16, text: &str| {
        upload_page("upload.cgi", head(status), text.as_bytes()).map(|error| error.kind)
    };
    let rows = [
        (
            200,
            "<p>Pas de fichier trouvé dans l'envoi",
            Some(K::UploadMalformed),
        ),
        (
            200,
            "Ne peut ouvrir le fichier destination",
            Some(K::NodeTrouble),
        ),
        (500, "<html>oops", Some(K::NodeTrouble)),
        (502, "", Some(K::NodeTrouble)),
        (
            200,
            r#"{"status":"KO","message":"Not authenticated"}"#,
            Some(K::KeyRefused),
        ),
        (
            403,
            r#"{"message":"No such user #93"}"#,
            Some(K::KeyRefused),
        ),
        (200, "<html>Services en maintenance", Some(K::Maintenance)),
        (403, "over quota", Some(K::OverQuota)),
        (413, "", Some(K::Refused)),
        (401, "", Some(K::KeyRefused)),
        (429, "", Some(K::Flood)),
        (200, "<html>Envoi terminé</html>", None),
        (200, r#"{"links":[]}"#, None),
        (200, "", None),
    ];
    for (status, text, kind) in rows {
        assert_eq!(page(status, text), kind, "{status} {text}");
    }
}

proptest! {
    #[test]
    fn no_answer_panics_and_only_2xx_objects_succeed(
        status in any::<u16>(),
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        prefix in prop::sample::select(vec!["", "{", "{\"status\":\"KO\",", "<html>", "IP Locked"]),
    ) {
        let mut body = prefix.as_bytes().to_vec();
        body.extend(bytes);
        let head = Head { status, retry_after: None };
        let answer = json::<Anything>("t", head, &body);
        let may_succeed = (200..300).contains(&status) && looks_like_object(&body);
        prop_assert!(answer.is_err() || may_succeed);
        prop_assert!(download_page("t", head, "", &body).detail.chars().count() < 300);
        let _ = upload_page("t", head, &body);
    }
}

use super::*;

fn look(status: u16, text: &str) -> Result<UploadReport, ApiError> {
    let head = AnswerHead::bare(status);
    report("end.pl", &head, text.as_bytes())
}

#[test]
fn the_reference_s_report_reads() {
    let hash = "ab".repeat(64);
    let text = format!(
        r#"{{"incoming":0,"links":[{{"download":"https://1fichier.com/?ffffgggghhhhiiiijjjj",
        "filename":"été 1.bin","size":"1234","whirlpool":"{hash}","remove":""}}]}}"#
    );
    let report = look(200, &text).unwrap();
    assert!(!report.incoming);
    let file = &report.files[0];
    assert_eq!(file.url.id().as_str(), "ffffgggghhhhiiiijjjj");
    assert_eq!((&*file.name, file.size), ("été 1.bin", Some(1234)));
    assert_eq!(file.whirlpool.unwrap().to_string(), hash);
}

#[test]
fn what_is_no_report_is_told_apart() {
    use ErrorKind as K;
    let rows = [
        (200, "<html>Veuillez patienter</html>", K::ReportPending),
        (200, "<html>Please wait</html>", K::ReportPending),
        (200, "", K::ReportPending),
        (200, r#"{"incoming":0,"links":[]}"#, K::ReportEmpty),
        (200, r#"{"incoming":0}"#, K::ReportEmpty),
        (
            200,
            r#"{"links":[{"download":"","filename":"x"}]}"#,
            K::ReportEmpty,
        ),
        (404, "<html>Not found</html>", K::ReportEmpty),
        (410, "", K::ReportEmpty),
        (500, "<html>oops</html>", K::Server),
        (503, "<html>maintenance</html>", K::Maintenance),
        (403, "IP Locked", K::IpBanned),
        (
            200,
            r#"{"status":"KO","message":"Flood detected: IP Locked"}"#,
            K::Flood,
        ),
        (200, r#"{"links":[{"#, K::Malformed),
        (200, r#"{"links":7}"#, K::Malformed),
    ];
    for (status, text, kind) in rows {
        assert_eq!(
            look(status, text).unwrap_err().kind,
            kind,
            "{status} {text}"
        );
    }
}

#[test]
fn the_report_s_id_is_taken_from_the_redirect() {
    let xid = |location: &str| xid_of(location).map(String::from);
    assert_eq!(xid("/end.pl?xid=Ab12Cd34Ef").as_deref(), Some("Ab12Cd34Ef"));
    assert_eq!(
        xid("https://up3.1fichier.com/end.pl?a=1&xid=Zz9#x").as_deref(),
        Some("Zz9")
    );
    for none in [
        "/end.pl",
        "/end.pl?xid=",
        "/end.pl?xid=a/b",
        "/end.pl?yxid=a",
        "",
    ] {
        assert_eq!(xid(none), None, "{none}");
    }
}

#[test]
fn ids_of_slots_are_short_and_alphanumeric() {
    assert!(is_id("Ab12Cd34Ef", MAX_ID_CHARS));
    for bad in ["", "Ab12Cd34Ef5", "Ab12-d34Ef", "../../etc", "é"] {
        assert!(!is_id(bad, MAX_ID_CHARS), "{bad}");
    }
}

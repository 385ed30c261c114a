//! Node, body, report (API reference 6).

use fake_1fichier::{Fake, StoreAt, UploadAnswer, content};
use serde_json::json;

use crate::client::{call, field, file_part, get, node, post, raw, report, upload, upload_head};

fn start() -> Fake {
    Fake::builder().start().expect("a fake")
}

#[test]
fn a_file_arrives_in_its_folder() {
    let fake = start();
    let dir = fake.account().mkdir(0, "dir");
    let data: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    for order in [0, 1] {
        let mut parts = vec![
            field("did", &dir.to_string()),
            file_part("été 1.bin", &data),
        ];
        parts.rotate_left(order);
        let done = upload(&fake, &parts).expect("an answer");
        let links = report(&fake, &done).json();
        let link = &links["links"][0];
        assert_eq!(links["incoming"], 0);
        assert_eq!(
            (&link["filename"], &link["size"], &link["remove"]),
            (&json!("été 1.bin"), &json!("1200000"), &json!(""))
        );
        assert_eq!(link["whirlpool"], content::whirlpool(&data));
        let url = link["download"].as_str().expect("a URL");
        let file = fake.account().file(url).expect("stored");
        assert_eq!((file.folder, file.size), (dir, 1_200_000));
        assert!(fake.account().read_all(url).expect("stored") == data);
    }
    assert_eq!(
        fake.account().files_at("dir/été 1.bin").len(),
        2,
        "a second upload is a second file"
    );
}

#[test]
fn large_files_leave_memory() {
    let fake = Fake::builder()
        .config(|c| c.memory_file_bytes = 1000)
        .start()
        .expect("a fake");
    let data = vec![7; 100_000];
    let done = upload(&fake, &[file_part("a", &data)]).expect("an answer");
    let url = report(&fake, &done).json()["links"][0]["download"]
        .as_str()
        .expect("a URL")
        .to_owned();
    assert!(fake.account().read_all(&url).expect("stored") == data);
}

#[test]
fn many_files_and_their_names() {
    let fake = start();
    let parts = [
        file_part("/tmp/a.txt", b"1"),
        file_part("it's.txt", b"22"),
        file_part(" c ", b"333"),
    ];
    let links = report(&fake, &upload(&fake, &parts).expect("an answer")).json();
    let names: Vec<&str> = links["links"]
        .as_array()
        .expect("links")
        .iter()
        .filter_map(|l| l["filename"].as_str())
        .collect();
    assert_eq!(names, ["a.txt", "it_s.txt", "c"]);
    assert_eq!(fake.account().folder(0).expect("root").files.len(), 3);
    fake.set_config(|c| c.upload_max_files = 2);
    assert_eq!(upload(&fake, &parts).expect("an answer").status, 200);
}

#[test]
fn an_invalid_folder_is_the_root() {
    let fake = start();
    for did in ["999", "x", ""] {
        upload(
            &fake,
            &[
                field("did", did),
                file_part(did, b"1"),
                file_part("z", b"1"),
            ][..2 - usize::from(did.is_empty())],
        )
        .expect("an answer");
    }
    assert_eq!(fake.account().folder(0).expect("root").files.len(), 2);
}

#[test]
fn what_the_parser_refuses() {
    let fake = start();
    let no_file = |parts: &[Vec<u8>]| {
        let answer = upload(&fake, parts).expect("an answer");
        assert_eq!(answer.status, 200);
        assert!(answer.header("location").is_none() && answer.text().contains("Pas de fichier"));
    };
    no_file(&[file_part("empty", b"")]);
    no_file(&[field("did", "0")]);
    no_file(&[]);
    no_file(&[field("dpass", "short"), file_part("a", b"1")]);
    no_file(&[String::from_utf8(file_part("a", b"1"))
        .expect("text")
        .replace("file[]", "file")
        .into_bytes()]);
    let star =
        "--B\r\nContent-Disposition: form-data; name=\"file[]\"; filename*=UTF-8''a\r\n\r\n1\r\n";
    no_file(&[star.as_bytes().to_vec()]);
    let id = node(&fake);
    let head =
        upload_head(&fake, &id, "Content-Length: 0\r\n").replace("boundary=B", "boundary=\"B\"");
    assert!(
        raw(&fake, head.as_bytes())
            .expect("an answer")
            .text()
            .contains("Pas de fichier")
    );
    assert!(fake.account().folder(0).expect("root").files.is_empty());
}

#[test]
fn length_is_required_and_chunks_refused() {
    let fake = start();
    let head = upload_head(&fake, &node(&fake), "Transfer-Encoding: chunked\r\n");
    assert_eq!(
        raw(&fake, format!("{head}0\r\n\r\n").as_bytes())
            .expect("an answer")
            .status,
        411
    );
    let head = upload_head(&fake, &node(&fake), "");
    assert_eq!(raw(&fake, head.as_bytes()).expect("an answer").status, 411);
}

#[test]
fn an_id_is_good_for_one_upload_and_for_a_while() {
    let fake = start();
    let id = node(&fake);
    assert_ne!(id, node(&fake));
    let parts = [file_part("a", b"1")];
    assert_eq!(post(&fake, &id, &parts).expect("an answer").status, 302);
    assert_eq!(post(&fake, &id, &parts).expect("an answer").status, 200);
    let id = node(&fake);
    fake.clock().advance(std::time::Duration::from_secs(601));
    assert_eq!(post(&fake, &id, &parts).expect("an answer").status, 200);
    assert_eq!(fake.account().folder(0).expect("root").files.len(), 1);
}

#[test]
fn reports_wait_expire_and_need_their_header() {
    let fake = Fake::builder()
        .config(|c| (c.wait_polls, c.xid_differs) = (2, true))
        .start()
        .expect("a fake");
    let id = node(&fake);
    let done = post(&fake, &id, &[file_part("a", b"1")]).expect("an answer");
    let path = done.header("location").expect("a location").to_owned();
    assert!(!path.contains(&id));
    let ask = |headers: &str| get(&fake, "GET", &path, headers).expect("an answer");
    for _ in 0..2 {
        let wait = ask("JSON: 1\r\n");
        assert_eq!(
            (wait.status, wait.text().contains("patienter")),
            (200, true)
        );
    }
    assert!(ask("").text().contains("<html"));
    assert_eq!(
        ask("JSON: 1\r\n").json()["links"].as_array().map(Vec::len),
        Some(1)
    );
    fake.clock().advance(std::time::Duration::from_secs(7201));
    assert_eq!(ask("JSON: 1\r\n").status, 404);
}

#[test]
fn reports_may_be_empty_or_hold_too_much() {
    let fake = Fake::builder()
        .config(|c| c.empty_report = true)
        .start()
        .expect("a fake");
    let links = |fake: &Fake| {
        let done = upload(fake, &[file_part("a", b"1")]).expect("an answer");
        report(fake, &done).json()["links"].as_array().map(Vec::len)
    };
    assert_eq!(links(&fake), Some(0));
    fake.set_config(|c| (c.empty_report, c.surplus_link) = (false, true));
    assert_eq!(links(&fake), Some(2));
    assert_eq!(fake.account().folder(0).expect("root").files.len(), 2);
}

#[test]
fn storage_may_start_at_the_report_and_the_answer_may_be_a_page() {
    let fake = Fake::builder()
        .config(|c| c.store_at = StoreAt::Report)
        .start()
        .expect("a fake");
    let done = upload(&fake, &[file_part("a", b"1")]).expect("an answer");
    let stored = || fake.account().folder(0).expect("root").files.len();
    assert_eq!(stored(), 0);
    report(&fake, &done);
    assert_eq!(stored(), 1);
    fake.set_config(|c| c.upload_answer = UploadAnswer::Page);
    assert_eq!(
        upload(&fake, &[file_part("b", b"1")])
            .expect("an answer")
            .status,
        200
    );
}

#[test]
fn guests_and_wrong_keys() {
    let fake = start();
    let send = |authorization: &str| {
        let head = upload_head(&fake, &node(&fake), "Content-Length: 118\r\n");
        let head = head.replace(
            &format!("Authorization: Bearer {}\r\n", fake.key()),
            authorization,
        );
        let mut body = [file_part("a", b"1"), b"--B--\r\n".to_vec()].concat();
        assert_eq!(body.len(), 118);
        body.splice(0..0, head.into_bytes());
        raw(&fake, &body).expect("an answer")
    };
    let links = report(&fake, &send("")).json();
    assert!(
        links["links"][0]["remove"]
            .as_str()
            .is_some_and(|r| r.contains("/remove/"))
    );
    assert_eq!(send("Authorization: Bearer wrong\r\n").status, 403);
    assert!(fake.account().folder(0).expect("root").files.is_empty());
}

#[test]
fn a_full_account_takes_nothing() {
    let fake = start();
    fake.account().set_quota(10);
    assert_eq!(
        upload(&fake, &[file_part("a", &[0; 11])])
            .expect("an answer")
            .status,
        200
    );
    assert_eq!(
        upload(&fake, &[file_part("a", &[0; 10])])
            .expect("an answer")
            .status,
        302
    );
    assert_eq!(
        call(&fake, "user/info", &json!({})).json()["available_cold_storage"],
        0
    );
}

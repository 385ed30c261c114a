use super::*;
use proptest::prelude::*;
use std::future::poll_fn;

fn file(name: &str, size: u64, pieces: Vec<io::Result<Bytes>>) -> UploadFile {
    let (tell, content) = mpsc::channel(pieces.len().max(1));
    for piece in pieces {
        tell.try_send(piece).unwrap();
    }
    UploadFile {
        name: name.into(),
        size,
        content,
    }
}

fn whole(name: &str, bytes: &[u8]) -> UploadFile {
    let piece = Bytes::copy_from_slice(bytes);
    file(name, bytes.len() as u64, vec![Ok(piece)])
}

fn sent(form: Form, files: Vec<UploadFile>) -> Result<Vec<u8>, SourceError> {
    counted(form, files, &UploadProgress::default())
}

fn counted(
    form: Form,
    files: Vec<UploadFile>,
    progress: &UploadProgress,
) -> Result<Vec<u8>, SourceError> {
    let mut body = form.body(files, progress.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut out = Vec::new();
        while let Some(piece) = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
            out.extend_from_slice(&piece?);
        }
        Ok(out)
    })
}

#[test]
fn the_body_is_the_reference_s_to_the_letter() {
    let files = vec![whole("été 1.bin", b"<bytes>")];
    let form = Form::with_boundary("----x7f0c1".into(), FolderId(4_100_021), &files).unwrap();
    assert_eq!(
        form.content_type(),
        "multipart/form-data; boundary=----x7f0c1"
    );
    let length = form.length();
    let expected = "------x7f0c1\r\n\
        Content-Disposition: form-data; name=\"did\"\r\n\r\n\
        4100021\r\n\
        ------x7f0c1\r\n\
        Content-Disposition: form-data; name=\"file[]\"; filename=\"été 1.bin\"\r\n\
        Content-Type: application/octet-stream\r\n\r\n\
        <bytes>\r\n\
        ------x7f0c1--\r\n";
    let body = sent(form, files).unwrap();
    assert_eq!(String::from_utf8_lossy(&body), expected);
    assert_eq!(length, body.len() as u64);
}

#[test]
fn several_files_follow_one_another() {
    let files = vec![whole("a", b"one"), whole("b", b"two")];
    let form = Form::with_boundary("B".into(), FolderId::ROOT, &files).unwrap();
    let length = form.length();
    let body = sent(form, files).unwrap();
    assert_eq!(length, body.len() as u64);
    let text = String::from_utf8(body).unwrap();
    assert_eq!(text.matches("name=\"did\"").count(), 1);
    assert!(text.contains(
        "\r\n\r\none\r\n--B\r\nContent-Disposition: form-data; name=\"file[]\"; filename=\"b\""
    ));
    assert!(text.ends_with("\r\n\r\ntwo\r\n--B--\r\n"));
}

#[test]
fn what_the_service_would_refuse_is_refused_here() {
    let refuse = |files: &[UploadFile]| Form::new(FolderId::ROOT, files).unwrap_err();
    refuse(&[]);
    for name in ["", "a\"b", "a\\b", "a/b", "a\r\nX: y", "a\nb", "a\0b"] {
        refuse(&[whole(name, b"x")]);
    }
    assert!(refuse(&[whole("empty", b"")]).contains("empty"));
    refuse(&[file("big", MAX_FILE_BYTES + 1, vec![])]);
    refuse(&[
        file("big", MAX_FILE_BYTES, vec![]),
        file("too", MAX_FILE_BYTES, vec![]),
    ]);
    let many: Vec<UploadFile> = (0..=MAX_FILES).map(|_| whole("x", b"x")).collect();
    refuse(&many);
    assert!(Form::new(FolderId::ROOT, &many[..MAX_FILES]).is_ok());
}

#[test]
fn a_source_that_fails_breaks_the_body_off() {
    let piece = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
    let run = |size, pieces| {
        let files = vec![file("x", size, pieces)];
        let form = Form::new(FolderId::ROOT, &files).unwrap();
        sent(form, files).unwrap_err()
    };
    let short = run(10, vec![piece("abc"), piece(""), piece("def")]);
    assert!(matches!(short, SourceError::Short(4)), "{short}");
    assert!(matches!(run(2, vec![piece("abc")]), SourceError::Long));
    let failed = run(3, vec![piece("a"), Err(io::Error::other("disk gone"))]);
    assert!(failed.to_string().contains("disk gone"));
}

#[test]
fn boundaries_differ() {
    assert_ne!(random_boundary(), random_boundary());
    assert!(random_boundary().len() <= 70);
}

proptest! {
    #[test]
    fn the_announced_length_is_what_is_sent(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 1..6),
        cut in 1usize..20,
        name in "[^\"\\\\/\\p{Cc}]{1,20}",
    ) {
        let files: Vec<UploadFile> = contents.iter().map(|content| {
            let pieces = content.chunks(cut).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            file(&name, content.len() as u64, pieces)
        }).collect();
        let form = Form::new(FolderId(7), &files).unwrap();
        let length = form.length();
        let progress = UploadProgress::default();
        let total: usize = contents.iter().map(Vec::len).sum();
        let body = counted(form, files, &progress).unwrap();
        prop_assert_eq!(body.len() as u64, length);
        prop_assert_eq!(progress.bytes(), total as u64);
    }
}

//! Everything that can be wrong with a bucket, as `reseed check` tells it: one clear error with a hint, exit
//! code 3, and nothing written.

use std::path::Path;

use reseed_lab::{Lab, Seaweed, Tool};
use reseed_tests::canned::{Canned, s3_error};
use reseed_tests::{binary, has_s3_server};
use reseed_transport_s3::store::{Keys, S3Settings, S3Store, Sha256, Store};

/// A server with a bucket in which somebody else keeps something, and a directory for files.
struct World {
    server: Seaweed,
    lab: Lab,
    told: String,
}

const PUT: &str = "[[stage]]\nuse = \"exec\"\nrole = \"source\"\nformat = \"zfs\"\nargv = [\"true\"]\n\n\
                   [[stage]]\nuse = \"s3-put\"\nrepository = \"offsite\"\n";
const GET: &str = "[[stage]]\nuse = \"s3-get\"\nrepository = \"offsite\"\nstorage = \"zfs\"\n\n\
                   [[stage]]\nuse = \"exec\"\nrole = \"sink\"\nargv = [\"sh\", \"-c\", \"cat >/dev/null\"]\n";

impl World {
    async fn new() -> Option<Self> {
        if !has_s3_server() {
            return None;
        }
        let lab = Lab::new().unwrap();
        let server = Seaweed::in_lab(&lab).unwrap();
        server.bucket("backups").unwrap();
        let world = Self { server, lab, told: String::new() };
        world.keep("somebody/else", "a note").await;
        Some(world)
    }

    fn store(&self) -> S3Store {
        let keys = Some(Keys::new(&self.server.access_key_id, &self.server.secret_access_key, None));
        let endpoint = Some(self.server.endpoint());
        S3Store::new(S3Settings { endpoint, keys, ..S3Settings::new("backups", "") })
    }

    async fn keep(&self, name: &str, text: &str) {
        let (key, bytes) = (reseed_transport_s3::store::Key::new(name).unwrap(), text.to_owned().into());
        let sha256 = Sha256::of(text.as_bytes());
        self.store().put(&key, bytes, sha256).await.unwrap();
    }

    fn secret(&self, name: &str, value: &str) -> String {
        let path = self.lab.path(name);
        std::fs::write(&path, value).unwrap();
        format!("{{ file = \"{path}\" }}")
    }

    fn keys(&self, id: &str, secret: &str) -> String {
        let (id, secret) = (self.secret("id", id), self.secret("secret", secret));
        format!("access_key_id = {id}\nsecret_access_key = {secret}\n")
    }

    fn own_keys(&self) -> String {
        self.keys(&self.server.access_key_id, &self.server.secret_access_key)
    }

    /// Checks a pipeline and notes what it says under this name.
    async fn refuses(&mut self, name: &str, url: &str, endpoint: &str, rest: &str, stages: &str) {
        let before = self.store().list("").await.unwrap();
        let file = self.lab.path("pipeline.toml");
        let repository = format!("[repositories.offsite]\nurl = \"{url}\"\nendpoint = \"{endpoint}\"\n{rest}\n");
        std::fs::write(&file, format!("name = \"offsite\"\n\n{repository}{stages}")).unwrap();
        let check = Tool::new(binary()).args(["check", &file]).env("HOME", self.lab.path("")).env("AWS_PROFILE", "");
        let output = check.env("AWS_EC2_METADATA_DISABLED", "true").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{name}: {said}");
        assert!(said.contains("hint: "), "{name}: {said}");
        assert_eq!(self.store().list("").await.unwrap(), before, "{name}: something was written");
        self.told.push_str(&format!("== {name}\n{said}\n"));
    }

    async fn of_the_real_server(&mut self) {
        let (endpoint, own) = (self.server.endpoint(), self.own_keys());
        self.refuses("wrong bucket, putting", "s3://backup/pg", &endpoint, &own, PUT).await;
        self.refuses("wrong bucket, getting", "s3://backup/pg", &endpoint, &own, GET).await;
        self.refuses("not a repository", "s3://backups/somebody", &endpoint, &own, GET).await;
        let lock = format!("{own}object_lock = {{ mode = \"governance\", keep = \"720h\" }}\n");
        self.refuses("no object lock", "s3://backups/pg", &endpoint, &lock, PUT).await;
        let manifest = "{\"format\": \"reseed-staged\", \"version\": 9, \"news\": true}";
        self.keep("new/manifests/tank_2Fpg/run/000000.json", manifest).await;
        self.refuses("a newer version, putting", "s3://backups/new", &endpoint, &own, PUT).await;
        self.refuses("a newer version, getting", "s3://backups/new", &endpoint, &own, GET).await;
        let unknown = self.keys("nobody", "x");
        self.refuses("wrong access key", "s3://backups/pg", &endpoint, &unknown, PUT).await;
        let wrong = self.keys(&self.server.access_key_id.clone(), "wrong");
        self.refuses("wrong secret key", "s3://backups/pg", &endpoint, &wrong, PUT).await;
        let reader = self.keys(&self.server.reader.0.clone(), &self.server.reader.1.clone());
        self.refuses("no permission to write", "s3://backups/pg", &endpoint, &reader, PUT).await;
        self.refuses("no credentials", "s3://backups/pg", &endpoint, "", PUT).await;
    }

    async fn of_answers(&mut self) {
        let own = self.own_keys();
        let malformed = "the region 'us-east-1' is wrong; expecting 'eu-central-1'";
        let cases = [
            ("wrong region", 301, "x-amz-bucket-region: eu-west-1\r\n", "PermanentRedirect", "use another endpoint"),
            ("wrong region, old words", 400, "", "AuthorizationHeaderMalformed", malformed),
            ("expired token", 400, "", "ExpiredToken", "The provided token has expired."),
            ("clock skew", 403, "", "RequestTimeTooSkewed", "The difference between the request time is too large."),
            ("no permission at all", 403, "", "AccessDenied", "Access Denied"),
            ("out of order", 503, "", "SlowDown", "Please reduce your request rate."),
            ("quota", 403, "", "QuotaExceeded", "no more"),
        ];
        for (name, status, fields, code, message) in cases {
            let body = s3_error(code, message);
            let canned = Canned::answering(move |_, _| (status, fields, body.clone()));
            self.refuses(name, "s3://backups/pg", &canned.url(), &own, PUT).await;
        }
        let nowhere = format!("http://127.0.0.1:{}", reseed_lab::free_port().unwrap());
        self.refuses("unreachable", "s3://backups/pg", &nowhere, &own, PUT).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_is_told_with_what_to_do_and_nothing_is_written() {
    let Some(mut world) = World::new().await else { return };
    world.of_the_real_server().await;
    world.of_answers().await;
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    insta::with_settings!({
        snapshot_path => snapshots, prepend_module_to_snapshot => false, omit_expression => true,
        filters => [(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"), (r"probe/reseed-[0-9a-f]{16}", "probe/reseed-RANDOM")]
    }, {
        insta::assert_snapshot!("s3_errors", world.told);
    });
}

//! From settings to a client: credentials, region, TLS, proxy, time limits, retries.

use std::time::Duration;

use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Credentials, ProvideCredentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use reseed_core::{Error, Result};

use super::fault::{Fault, Place, chain};
use super::{Connected, LARGEST, PATIENCE, SLOWEST};
use crate::store::{Proxy, S3Settings};

/// How long a connection may take to come about.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// Where instances and containers are told their credentials: those are for nobody on the way.
const OF_THE_INSTANCE: &str = "169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,fd00:ec2::23";
/// Where a bucket is that nothing else is known of; another region is told by its answer.
const REGION: &str = "us-east-1";

/// Finds credentials and makes a client. Nothing is asked of the bucket.
pub(super) async fn connect(settings: &S3Settings) -> Result<Connected> {
    let shared = loader(settings, http_client(settings).await?).load().await;
    let place = place(settings, &shared);
    find_credentials(&shared, &place).await?;
    let region = shared.region().cloned().unwrap_or_else(|| Region::from_static(REGION));
    // Without an endpoint it is Amazon's, whose newer regions know the bucket by its host's name alone.
    let path_style = settings.path_style.unwrap_or(shared.endpoint_url().is_some());
    let config = aws_sdk_s3::config::Builder::from(&shared)
        .region(region)
        .force_path_style(path_style)
        // What is not asked for is not understood by every server; reseed checks what it reads itself.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Ok(Connected { client: Client::from_conf(config), place })
}

fn loader(settings: &S3Settings, http: SharedHttpClient) -> ConfigLoader {
    let retries = RetryConfig::standard().with_max_attempts(7).with_initial_backoff(Duration::from_millis(250));
    let answer = settings.stall * PATIENCE;
    let whole = answer + Duration::from_secs(LARGEST / SLOWEST);
    let limits = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(answer);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(retries)
        .timeout_config(limits.operation_attempt_timeout(whole).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(settings.stall).build());
    if let Some(endpoint) = &settings.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader = match (&settings.region, &settings.endpoint) {
        (Some(region), _) => loader.region(Region::new(region.clone())),
        // What is not Amazon's has no use for the region of an instance, which is asked for over the network.
        (None, Some(_)) => loader.region(named_region(settings)),
        (None, None) => loader,
    };
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(keys) = &settings.keys {
        let (id, secret, token) = (&keys.access_key_id, &keys.secret_access_key, &keys.session_token);
        loader = loader.credentials_provider(Credentials::new(id, secret, token.clone(), None, "reseed"));
    }
    loader
}

/// The region that the environment or a profile names, else the usual one.
fn named_region(settings: &S3Settings) -> RegionProviderChain {
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &settings.profile {
        profile = profile.profile_name(name);
    }
    let chain = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(profile.build());
    chain.or_else(Region::from_static(REGION))
}

fn place(settings: &S3Settings, shared: &SdkConfig) -> Place {
    Place {
        url: settings.url(),
        bucket: settings.bucket.clone(),
        endpoint: shared.endpoint_url().map(str::to_owned),
        region: shared.region().map(ToString::to_string),
        sse_c: settings.sse_c_key.is_some(),
    }
}

/// That there are credentials is found out here, where it can be said what is missing.
async fn find_credentials(shared: &SdkConfig, place: &Place) -> Result<()> {
    let doing = "can't begin";
    let Some(provider) = shared.credentials_provider() else {
        return Err(Fault::NoCredentials("nothing gives any".to_owned()).told(place, doing));
    };
    match provider.provide_credentials().await {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::NoCredentials(in_a_line(&chain(&error))).told(place, doing)),
    }
}

/// What the SDK tells of credentials, in one line: where it looked everywhere it has a line for each place.
fn in_a_line(said: &str) -> String {
    match said.contains("no credentials found in chain") {
        true => "none in the environment, in a profile, from a token or from a role of this machine".to_owned(),
        false => said.lines().collect::<Vec<_>>().join(" "),
    }
}

/// The proxy on the way.
fn proxy(settings: &S3Settings) -> Result<ProxyConfig> {
    let (url, login) = match &settings.proxy {
        Proxy::Environment => return Ok(ProxyConfig::from_env()),
        Proxy::Straight => return Ok(ProxyConfig::disabled()),
        Proxy::Url { url, login } => (url, login),
    };
    let wrong = |error| Error::failed(format!("`{url}` is no address of a proxy")).because(error);
    let proxy = ProxyConfig::all(url.as_str()).map_err(wrong)?.no_proxy(OF_THE_INSTANCE);
    Ok(match login {
        Some((user, password)) => proxy.with_basic_auth(user, password),
        None => proxy,
    })
}

/// The HTTP client: rustls with ring as in the rest of reseed.
async fn http_client(settings: &S3Settings) -> Result<SharedHttpClient> {
    let proxy = proxy(settings)?;
    let mut trusted = TrustStore::default();
    if let Some(path) = &settings.ca_file {
        let shown = path.display();
        let pem = tokio::fs::read(path).await.map_err(|error| {
            Error::failed(format!("can't read the CA file {shown}")).because(error).hint(format!("ls -l {shown}"))
        })?;
        // The client would stop the process over a file that is none.
        if !pem.windows(27).any(|text| text == b"-----BEGIN CERTIFICATE-----") {
            let error = Error::failed(format!("{shown} holds no certificate in PEM form"));
            return Err(error.hint(format!("openssl x509 -in {shown} -inform der")));
        }
        trusted = trusted.with_pem_certificate(pem);
    }
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context = context.map_err(|error| Error::failed("can't set up TLS").because(error))?;
    Ok(Builder::new().build_with_connector_fn(move |limits, components| {
        let mut connector = Connector::builder();
        connector.set_connector_settings(limits.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector
            .proxy_config(proxy.clone())
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(context.clone())
            .build()
    }))
}

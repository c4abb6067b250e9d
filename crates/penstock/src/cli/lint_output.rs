//! Placeholder.
use penstock_manifest::Diagnostic;
pub fn text(findings: &[Diagnostic]) -> String {
    findings.iter().map(|f| format!("{f}\n")).collect()
}
pub fn json(findings: &[Diagnostic]) -> String {
    text(findings)
}
pub fn sarif(findings: &[Diagnostic]) -> String {
    text(findings)
}
pub fn github(findings: &[Diagnostic]) -> String {
    text(findings)
}

# Unpacks a zip file into releases\<version>, which has that name only once everything is in it.
[CmdletBinding()]
param(
    [Parameter(Mandatory)] [string] $Dest,
    [Parameter(Mandatory)] [string] $Version,
    [Parameter(Mandatory)] [string] $Zip,
    [string] $Checksum
)
$ErrorActionPreference = 'Stop'
Add-Type -AssemblyName System.IO.Compression.FileSystem

if ($Version -notmatch '^[0-9A-Za-z][0-9A-Za-z._+-]*$') {
    throw "The version '$Version' cannot name a folder."
}
$releases = Join-Path $Dest 'releases'
$release = Join-Path $releases $Version
$note = Join-Path $releases "$Version.sha256"
$digest = (Get-FileHash -LiteralPath $Zip -Algorithm SHA256).Hash.ToLowerInvariant()
$wanted = $Checksum.ToLowerInvariant() -replace '^sha256:', ''
if ($wanted -and $digest -ne $wanted) {
    throw "Archive $Zip has the SHA-256 checksum $digest, and $wanted is wanted."
}

$Ansible.Changed = $false
if (Test-Path -LiteralPath $release) {
    if (-not (Test-Path -LiteralPath $note)) {
        throw "$release is there but was not unpacked by this strategy, so nobody knows if it is complete. Move it away."
    }
    $known = (Get-Content -LiteralPath $note -Raw).Trim()
    if ($known -ne $digest) {
        throw "$release was unpacked from another archive (SHA-256 $known, and this one has $digest). Give the release a new version."
    }
    Remove-Item -LiteralPath $Zip
    return
}

$staging = [IO.Path]::GetFullPath((Join-Path $releases ".staging-$Version"))
$archive = [IO.Compression.ZipFile]::OpenRead($Zip)
try {
    foreach ($entry in $archive.Entries) {
        $target = [IO.Path]::GetFullPath((Join-Path $staging $entry.FullName))
        $isInside = $target.StartsWith($staging + '\', [StringComparison]::OrdinalIgnoreCase)
        if (-not $isInside -or $entry.FullName.Contains(':')) {
            throw "Archive $Zip is refused: its entry '$($entry.FullName)' leads out of the folder."
        }
    }
} finally {
    $archive.Dispose()
}
if (Test-Path -LiteralPath $staging) {
    Remove-Item -LiteralPath $staging -Recurse -Force
}
$null = New-Item -ItemType Directory -Path $staging -Force
[IO.Compression.ZipFile]::ExtractToDirectory($Zip, $staging)
Set-Content -LiteralPath $note -Value $digest -Encoding Ascii
Move-Item -LiteralPath $staging -Destination $release
Remove-Item -LiteralPath $Zip
$Ansible.Changed = $true

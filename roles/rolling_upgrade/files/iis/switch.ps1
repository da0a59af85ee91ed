# Leads a site of IIS to another release while its application pool is stopped. Bears being killed anywhere and run again.
[CmdletBinding()]
param(
    [Parameter(Mandatory)] [string] $Site,
    [string] $Pool,
    [Parameter(Mandatory)] [string] $Dest,
    [Parameter(Mandatory)] [string] $Version,
    [Parameter(Mandatory)] [int] $Timeout,
    [string] $OfflinePage,
    [Parameter(Mandatory)] [int] $Keep
)
$ErrorActionPreference = 'Stop'
Import-Module WebAdministration

function Wait-ForPool([string] $Wanted) {
    $deadline = (Get-Date).AddSeconds($Timeout)
    do {
        $state = (Get-WebAppPoolState -Name $Pool).Value
        if ($state -eq $Wanted) { return }
        Start-Sleep -Milliseconds 250
    } while ((Get-Date) -lt $deadline)
    throw "The application pool $Pool was not $Wanted within $Timeout s; it is $state."
}

$releases = [IO.Path]::GetFullPath((Join-Path $Dest 'releases'))
$target = Join-Path $releases $Version
if ($Version -notmatch '^[0-9A-Za-z][0-9A-Za-z._+-]*$' -or -not (Test-Path -LiteralPath $target -PathType Container)) {
    throw "There is no release '$Version' below $releases."
}
$website = Get-Website | Where-Object { $_.Name -eq $Site }
if (-not $website) {
    throw "IIS has no site '$Site'."
}
if (-not $Pool) {
    $Pool = $website.applicationPool
}
$before = [Environment]::ExpandEnvironmentVariables($website.physicalPath)

# Whoever still asks gets this page, and ASP.NET Core lets its last requests end when it sees the file.
$offline = Join-Path $before 'app_offline.htm'
if ($OfflinePage -and (Test-Path -LiteralPath $before -PathType Container)) {
    Set-Content -LiteralPath $offline -Value $OfflinePage -Encoding UTF8
}
if ((Get-WebAppPoolState -Name $Pool).Value -notin 'Stopped', 'Stopping') {
    Stop-WebAppPool -Name $Pool
}
Wait-ForPool 'Stopped'
Set-ItemProperty -Path "IIS:\Sites\$Site" -Name physicalPath -Value $target
# Of the old release too, or it would be offline when somebody goes back to it.
foreach ($folder in $before, $target) {
    $page = Join-Path $folder 'app_offline.htm'
    if ($OfflinePage -and (Test-Path -LiteralPath $page)) {
        Remove-Item -LiteralPath $page
    }
}
Start-WebAppPool -Name $Pool
Wait-ForPool 'Started'
if ((Get-WebsiteState -Name $Site).Value -ne 'Started') {
    Start-Website -Name $Site
}

# Only what this strategy has unpacked; the newest ones stay, and the one before in any case.
$ours = Get-ChildItem -LiteralPath $releases -Directory |
    Where-Object { Test-Path -LiteralPath (Join-Path $releases "$($_.Name).sha256") } |
    Sort-Object CreationTimeUtc -Descending
$needed = @($target, [IO.Path]::GetFullPath($before).TrimEnd('\'))
$spare = @($ours | Where-Object { $_.FullName -notin $needed })
$room = [Math]::Max($Keep - (@($ours).Count - $spare.Count), 0)
foreach ($old in ($spare | Select-Object -Skip $room)) {
    Remove-Item -LiteralPath (Join-Path $releases "$($old.Name).sha256")
    Remove-Item -LiteralPath $old.FullName -Recurse -Force -ErrorAction SilentlyContinue
}
$Ansible.Changed = $true
$Ansible.Result = @{ before = $before; path = $target; pool = $Pool }

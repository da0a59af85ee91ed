# Says where a site of IIS leads to, and which release that is.
[CmdletBinding()]
param(
    [Parameter(Mandatory)] [string] $Site,
    [string] $Dest
)
$ErrorActionPreference = 'Stop'
Import-Module WebAdministration

$path = ''
$pool = ''
$version = ''
$website = Get-Website | Where-Object { $_.Name -eq $Site }
if ($website) {
    $path = [Environment]::ExpandEnvironmentVariables($website.physicalPath)
    $pool = $website.applicationPool
    if ($Dest) {
        $releases = [IO.Path]::GetFullPath((Join-Path $Dest 'releases'))
        $current = [IO.Path]::GetFullPath($path).TrimEnd('\')
        if ([IO.Path]::GetDirectoryName($current) -eq $releases) {
            $version = [IO.Path]::GetFileName($current)
        }
    }
}
$Ansible.Changed = $false
$Ansible.Result = @{
    found = [bool] $website
    path = $path
    pool = $pool
    version = $version
    sites = @(Get-Website | ForEach-Object { $_.Name })
}

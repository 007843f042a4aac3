{{/* Which ports pgheadroom connects to, as lists of numbers. */}}

{{/* Of servers and poolers: those of the entries, and those that a dsn names. */}}
{{- define "pgheadroom.serverPorts" -}}
{{- $ports := .Values.networkPolicy.serverPorts -}}
{{- if include "pgheadroom.ownConfig" . -}}
{{- $config := include "pgheadroom.config" . | fromYaml -}}
{{- range concat (default list $config.servers) (default list $config.poolers) -}}
{{- $dsns := list .dsn -}}
{{- with dig "probe" "credentials" "dsn" "" . -}}{{- $dsns = append $dsns . -}}{{- end -}}
{{- range $dsns -}}
{{- $ports = concat $ports (include "pgheadroom.dsnPorts" . | fromYamlArray) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $numbers := list -}}
{{- range $ports -}}{{- $numbers = append $numbers (int .) -}}{{- end -}}
{{- toYaml (uniq $numbers) -}}
{{- end -}}

{{/* `port=` of a keyword string, or what follows the colons of a URL's hosts; 5432 where there is none. */}}
{{- define "pgheadroom.dsnPorts" -}}
{{- $text := regexReplaceAll "^(.*[?&\\s]|)port\\s*=\\s*'?([0-9,]+).*$" . "${2}" -}}
{{- if eq $text . -}}
{{- $hosts := regexReplaceAll "^[a-z]+://([^/?@]*@)?([^/?]*).*$" . "${2}" -}}
{{- $text = "" -}}
{{- if contains "://" . -}}
{{- range splitList "," $hosts -}}
{{- $text = printf "%s,%s" $text (regexFind ":[0-9]+$" . | trimPrefix ":") -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $ports := list -}}
{{- range splitList "," (trimPrefix "," $text) -}}
{{- $ports = append $ports (default 5432 (int .)) -}}
{{- end -}}
{{- toYaml $ports -}}
{{- end -}}

{{/* Of receivers: 443, and those that a url names. */}}
{{- define "pgheadroom.receiverPorts" -}}
{{- $ports := list 443 -}}
{{- range .Values.networkPolicy.receiverPorts -}}{{- $ports = append $ports (int .) -}}{{- end -}}
{{- range concat .Values.receivers (default list .Values.config.receivers) -}}
{{- range concat (list (default "" .url)) (default list .urls) -}}
{{- with (urlParse .) -}}
{{- $port := regexFind ":[0-9]+$" .host | trimPrefix ":" -}}
{{- if or $port (eq .scheme "http") -}}{{- $ports = append $ports (default 80 (int $port)) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml (uniq $ports) -}}
{{- end -}}

{{/* An egress rule. Takes to and ports. */}}
{{- define "pgheadroom.egress" -}}
ports:
  {{- range .ports }}
  - port: {{ . }}
    protocol: TCP
  {{- end }}
{{- with .to }}
to:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

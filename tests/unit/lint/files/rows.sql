SET XACT_ABORT ON;
DECLARE @Ids TABLE (Id int NOT NULL, Was nvarchar(50));
DECLARE @rows int = 1, @cutoff datetime = DATEADD(day, -30, GETDATE());

BEGIN TRY
    BEGIN TRANSACTION;

    UPDATE c
    SET c.Email = LOWER(c.Email)
    OUTPUT deleted.Id, deleted.Email INTO @Ids (Id, Was)
    FROM dbo.Customer AS c
    INNER JOIN dbo.[Order] o ON o.CustomerId = c.Id
    WHERE c.Email <> LOWER(c.Email);

    DELETE o OUTPUT deleted.* INTO archive.[Order] FROM dbo.[Order] AS o WHERE o.Placed < @cutoff;

    INSERT INTO dbo.AuditLog (What, At)
    OUTPUT inserted.Id INTO @Ids (Id)
    SELECT N'lowered', SYSUTCDATETIME() FROM @Ids;

    MERGE dbo.Setting AS t
    USING (SELECT N'theme' AS Name, N'dark' AS Value UNION ALL SELECT N'tax', N'on') AS s ON s.Name = t.Name
    WHEN MATCHED THEN UPDATE SET Value = s.Value
    WHEN NOT MATCHED THEN INSERT (Name, Value) VALUES (s.Name, s.Value)
    WHEN NOT MATCHED BY SOURCE AND t.Obsolete = 1 THEN DELETE;

    COMMIT TRANSACTION;
END TRY
BEGIN CATCH
    IF @@TRANCOUNT > 0
        ROLLBACK TRANSACTION;
    DECLARE @message nvarchar(2048) = ERROR_MESSAGE();
    RAISERROR (@message, 16, 1);
END CATCH;

WHILE @rows > 0
BEGIN
    WITH Old AS (
        SELECT TOP (4000) Id FROM dbo.Session WITH (READPAST) WHERE Expires < @cutoff ORDER BY Expires
    )
    DELETE FROM Old;
    SET @rows = @@ROWCOUNT;
    WAITFOR DELAY '00:00:01';
END

SELECT TOP (100) Id, Email INTO dbo.CustomerBackup FROM dbo.Customer WITH (NOLOCK) ORDER BY Id;
WITH Numbered (Id, Position) AS (SELECT Id, ROW_NUMBER() OVER (PARTITION BY CustomerId ORDER BY Placed) FROM dbo.[Order])
UPDATE o SET o.Position = n.Position FROM dbo.[Order] o JOIN Numbered n ON n.Id = o.Id;
INSERT dbo.Import EXEC dbo.ImportRows @since = @cutoff;
INSERT INTO dbo.Country (Code, Name) VALUES ('DE', N'Germany'), ('FR', N'France');
TRUNCATE TABLE dbo.Import;
DBCC CHECKIDENT ('dbo.Import', RESEED, 0);
EXEC @rows = dbo.CountRows 'dbo.Import';
GO
